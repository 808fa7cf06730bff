"""A scorer behind a small JSON protocol over HTTP: a model of another environment, another language, another machine.

`POST <url>` with {"prompts": [text, ...], "images": [PNG in base64, ...], "metadata": [{...}, ...]} is answered by
{"scores": [number or null, ...], "reasons": [text, ...]}, the reasons left out where there is nothing to say.
`examples/score_server.py` is a server of twenty lines. Nothing is pickled, so that a server cannot run code here.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import tenacity
from PIL.Image import Image

from arr_rpo import ranks
from arr_rpo.judge.server.faults import BUSY
from arr_rpo.scorer.base import Scorer, grade
from arr_rpo.strict_json import plain
from arr_rpo.types import Grade, Prompt, UserError


class _BusyError(Exception):
    """Worth another try."""


class HttpScorer(Scorer):
    """Pictures whose request fails in spite of retries have no score, and the reason; a server that cannot be reached at all
    ends the run.

    Args:
        url: of the server.
        timeout: seconds for one attempt. retries: attempts beyond the first, after 1, 2, 4, ... seconds.
        batch_size: pictures in one request. concurrency: requests under way at once, of all processes of a run together.
        max_reply: bytes of a reply that are read.
    """

    def __init__(self, *, url: str, timeout: float, retries: int, batch_size: int, concurrency: int, max_reply: int) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"score url={url}: it begins with http:// or https://")
        if min(batch_size, concurrency) < 1 or retries < 0 or timeout <= 0:
            raise UserError("score: batch_size and concurrency are 1 at least, retries 0 at least, timeout above 0")
        self.url, self._batch_size, self._concurrency, self._max_reply = url, batch_size, concurrency, max_reply
        self._client = httpx2.Client(timeout=timeout, trust_env=False)
        self._attempts = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 + retries),
            wait=tenacity.wait_exponential(max=30),
            retry=tenacity.retry_if_exception_type((_BusyError, httpx2.TransportError)),
            reraise=True,
        )

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        starts = range(0, len(images), self._batch_size)
        parts = [slice(start, start + self._batch_size) for start in starts]
        with ThreadPoolExecutor(max(1, self._concurrency // ranks.at_work())) as pool:
            answers = list(pool.map(self._ask, [prompts[part] for part in parts], [images[part] for part in parts]))
        return [one for answer in answers for one in answer]

    def _ask(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        body = {
            "prompts": [prompt.text for prompt in prompts],
            "images": [_png(image) for image in images],
            "metadata": [plain(prompt.metadata) for prompt in prompts],
        }
        try:
            reply = self._attempts(self._post, body)
        except httpx2.TransportError as error:
            raise UserError(f"the scorer at {self.url} cannot be reached ({error}): start it, or mend score url") from error
        except _BusyError as error:
            return [Grade(None, reason=str(error))] * len(images)
        return _read(reply, len(images), self.url)

    def _post(self, body: dict[str, Any]) -> bytes:
        try:
            with self._client.stream("POST", self.url, json=body) as response:
                kept = bytearray()
                for piece in response.iter_bytes():
                    kept += piece
                    if len(kept) > self._max_reply:
                        raise UserError(f"the scorer at {self.url} answers more than max_reply={self._max_reply} bytes")
        except httpx2.ConnectTimeout:  # nobody is there
            raise
        except httpx2.TimeoutException as error:
            raise _BusyError("the scorer did not answer in time") from error
        if response.status_code in BUSY or response.status_code >= 500:
            raise _BusyError(f"the scorer answered with status {response.status_code}")
        if response.status_code != 200:
            said = bytes(kept[:200]).decode(errors="replace")
            raise UserError(f"the scorer at {self.url} answered with status {response.status_code}: {said}")
        return bytes(kept)


def _read(reply: bytes, count: int, url: str) -> list[Grade]:
    """The grades of a reply.

    Raises:
        UserError: it is not of the protocol.
    """
    try:
        data = json.loads(reply)
        scores, reasons = data["scores"], data.get("reasons") or [""] * count
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f'the scorer at {url} answered {reply[:200]!r}: {{"scores": [...]}} is wanted') from error
    if not isinstance(scores, list) or not isinstance(reasons, list) or not len(scores) == len(reasons) == count:
        raise UserError(
            f"the scorer at {url} answered {reply[:200]!r} for {count} pictures: as many scores are wanted, and reasons if any"
        )
    grades = [grade(score) for score in scores]
    return [Grade(g.value, reason=str(reason or "") or g.reason) for g, reason in zip(grades, reasons, strict=True)]


def _png(image: Image) -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
