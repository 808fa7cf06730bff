"""The OpenAI chat format: a conversation as a request, and a response as a reply.

https://platform.openai.com/docs/api-reference/chat, as vLLM, SGLang and `transformers serve` speak it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PIL.Image import Image

from arr_rpo.judge.asking import Conversation, digest
from arr_rpo.strict_json import short


class MalformedResponse(Exception):  # noqa: N818 - a fault of the server's, which may be gone the next time
    """A response of status 200 that is no chat completion."""


@dataclass(frozen=True)
class Request:
    """What is asked of a server.

    redacted: the request with the digests of its images in their place: what is hashed, and what is recorded.
    body: makes what is sent; None is a GET. Images are encoded only when it is called.
    """

    path: str
    redacted: Mapping[str, Any]
    body: Callable[[], dict[str, Any]] | None = field(default=None, compare=False)
    images: Mapping[str, Image] = field(default_factory=dict, compare=False)

    @cached_property
    def digest(self) -> str:
        """Of the path and all that is sent, images by their pixels."""
        return hashlib.sha256(json.dumps([self.path, self.redacted], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """cut: whether it ended at the token limit. tokens: read and written.

    top_logprobs: log-probability of the most probable first tokens; None where the server gives none.
    """

    text: str
    cut: bool
    tokens: int
    top_logprobs: Mapping[str, float] | None


def models_request() -> Request:
    return Request("/models", {})


def chat_request(conversation: Conversation, parameters: Mapping[str, Any]) -> Request:
    """The conversation with its images as PNG data URLs, beside the other fields of the body (`model`, ...)."""
    return Request(
        "/chat/completions",
        {**parameters, "messages": messages(conversation, lambda image: f"sha256:{digest(image)}")},
        lambda: {**parameters, "messages": messages(conversation, data_url)},
        {
            digest(part["image"]): part["image"]
            for turn in conversation
            if not isinstance(turn["content"], str)
            for part in turn["content"]
            if part["type"] == "image"
        },
    )


def messages(conversation: Conversation, show: Callable[[Image], str]) -> list[dict[str, Any]]:
    """The turns with every image as the URL that `show` gives it.

    What the assistant said becomes one string: not every server takes a list of parts from it.
    """
    return [{"role": turn["role"], "content": _content(turn, show)} for turn in conversation]


def _content(turn: Mapping[str, Any], show: Callable[[Image], str]) -> str | list[dict[str, Any]]:
    if isinstance(turn["content"], str):
        return turn["content"]
    if turn["role"] == "assistant":
        return "".join(part["text"] for part in turn["content"])
    return [
        {"type": "image_url", "image_url": {"url": show(part["image"])}}
        if part["type"] == "image"
        else {"type": "text", "text": part["text"]}
        for part in turn["content"]
    ]


class DataUrls:
    """Images as PNG data URLs. Those sent last are kept, up to `most` characters: an image stands in many questions."""

    def __init__(self, most: int) -> None:
        self._most, self._lock, self._known = most, threading.Lock(), OrderedDict[str, str]()

    def __call__(self, image: Image) -> str:
        key = digest(image)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        url = "data:image/png;base64," + base64.b64encode(png(image)).decode()  # without the lock: threads encode side by side
        with self._lock:
            self._known[key] = url
            while len(self._known) > 1 and sum(map(len, self._known.values())) > self._most:
                self._known.popitem(last=False)
        return url


data_url = DataUrls(most=256_000_000)


def png(image: Image) -> bytes:
    """Without loss, except where PNG has no such mode (CMYK, floats)."""
    buffer = io.BytesIO()
    (image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()


def read_reply(text: str) -> Reply:
    """The first choice of a chat completion.

    Raises:
        MalformedResponse: not JSON, or not of a completion's shape: something between model and client went wrong.
    """
    try:
        data = json.loads(text)
        choice = data["choices"][0]
        content = choice["message"].get("content") or ""
        content.encode()  # half of a surrogate pair can be neither sent nor logged
        if choice.get("finish_reason") == "abort":  # vLLM's word for a request that it drops, as when it shuts down
            raise ValueError("the server gave the reply up")
        tokens = (data.get("usage") or {}).get("total_tokens") or 0
        return Reply(content, choice.get("finish_reason") == "length", int(tokens), _top_logprobs(choice))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise MalformedResponse(f"no chat completion ({type(error).__name__}: {error}): {short(text)}") from None


def _top_logprobs(choice: Mapping[str, Any]) -> dict[str, float] | None:
    content = (choice.get("logprobs") or {}).get("content")
    if content is None:
        return None
    if not content:
        return {}
    found = {str(entry["token"]): float(entry["logprob"]) for entry in content[0]["top_logprobs"]}
    if any(math.isnan(p) or p > 1e-3 for p in found.values()):
        raise ValueError(f"log-probabilities {found}")
    return found


def read_models(text: str) -> dict[str, dict[str, Any]]:
    """The models a server lists, by id.

    Raises:
        MalformedResponse: not such a list.
    """
    try:
        return {str(entry["id"]): dict(entry) for entry in json.loads(text)["data"]}
    except (ValueError, TypeError, KeyError) as error:
        raise MalformedResponse(f"no list of models ({type(error).__name__}: {error}): {short(text)}") from None
