"""What goes over the wire to a judge's server, and the live transport."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

import httpx2
import openai

from arr_rpo.judge.server.chat import Request
from arr_rpo.types import UserError


@dataclass(frozen=True)
class Exchange:
    """What came back.

    status: of HTTP; None where no whole response came. text: the response's body, or what happened instead of one.
    seconds: how long it took. retry_after: seconds the server asks to wait. cached: it was not asked at all.
    """

    status: int | None
    text: str
    seconds: float
    retry_after: float | None = None
    cached: bool = False


class Transport(Protocol):
    """Sends a request once. What goes wrong on the way is an `Exchange`, too."""

    where: str
    live: bool  # whether there is somebody to wait for

    async def send(self, request: Request) -> Exchange:
        """The exchange of one attempt."""

    async def close(self) -> None:
        """Lets go of connections."""


class Live:
    """An OpenAI-compatible server. The key is in the header of requests and nowhere else: where a server repeats it, it is
    struck out before anybody sees the text.

    timeout: seconds for a whole attempt.
    """

    live = True

    def __init__(self, base_url: str, api_key: str | None, timeout: float) -> None:
        if httpx2.URL(base_url).userinfo:
            raise UserError("judge.model.base_url must not hold a user or password: name a variable in judge.model.api_key_env")
        self.where, self._key, self._timeout = base_url, api_key, timeout
        # Retries are the client's (`judge.client`), which counts and records them.
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=api_key or "none", timeout=timeout, max_retries=0)

    async def send(self, request: Request) -> Exchange:
        """See `Transport.send`."""
        # In a thread, and before the clock runs: large pictures take seconds, which are none of the server's.
        body = None if request.body is None else await asyncio.to_thread(request.body)
        start = time.monotonic()
        status, headers = None, None
        try:
            async with asyncio.timeout(self._timeout):
                if body is None:
                    response = await self._client.get(request.path, cast_to=httpx2.Response)
                else:
                    response = await self._client.post(request.path, cast_to=httpx2.Response, body=body)
            status, headers, text = response.status_code, response.headers, response.text
        except openai.APIStatusError as error:
            status, headers, text = error.status_code, error.response.headers, error.response.text
        except (openai.APITimeoutError, TimeoutError):
            text = f"no reply within {self._timeout:g} s"
        except openai.APIConnectionError as error:
            cause = error.__cause__
            text = f"connection failed ({type(cause).__name__}: {cause})" if cause else "connection failed"
        return Exchange(status, self._struck_out(text), time.monotonic() - start, _retry_after(headers or {}))

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._client.close()

    def _struck_out(self, text: str) -> str:
        return text.replace(self._key, "[API key]") if self._key else text


def api_key(variable: str | None) -> str | None:
    """The key in the environment variable of this name; None without one.

    Raises:
        UserError: it is not set, or no header can carry it. The message names the variable, not its value.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key and variable not in os.environ and not re.fullmatch("[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", variable):
        raise UserError(
            "judge.model.api_key_env names an environment variable, such as OPENAI_API_KEY; there is none of that name. It "
            "is not repeated here, as it may be the key itself: then export that under a name, and take it out of the config "
            "and of the run's config.yaml and versions.json"
        )
    if not key:
        raise UserError(f"judge.model.api_key_env={variable}: no such environment variable. Export it, or name none (null)")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise UserError(f"judge.model.api_key_env={variable}: its value has characters that no key has (spaces, lines ...)")
    return key


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date (RFC 9110)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
