"""The OpenAI chat format: a conversation as a request.

https://platform.openai.com/docs/api-reference/chat, as vLLM, SGLang and `transformers serve` speak it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PIL.Image import Image

from arr_rpo.judge.asking import Conversation, digest
from arr_rpo.judge.pictures import Pictures


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


def models_request() -> Request:
    return Request("/models", {})


def chat_request(conversation: Conversation, parameters: Mapping[str, Any], urls: DataUrls) -> Request:
    """The conversation with its images as data URLs, beside the other fields of the body (`model`, ...)."""
    return Request(
        "/chat/completions",
        {**parameters, "messages": messages(conversation, lambda image: f"sha256:{digest(image)}{urls.pictures.name}")},
        lambda: {**parameters, "messages": messages(conversation, urls)},
        {
            digest(part["image"]): part["image"]
            for turn in conversation
            if not isinstance(turn["content"], str)
            for part in turn["content"]
            if part["type"] == "image"
        },
    )


def messages(conversation: Conversation, show: Callable[[Image], str]) -> list[dict[str, Any]]:
    """The turns with every image as the URL that `show` gives it."""
    return [{"role": turn["role"], "content": _content(turn, show)} for turn in conversation]


def _content(turn: Mapping[str, Any], show: Callable[[Image], str]) -> str | list[dict[str, Any]]:
    if turn["role"] == "assistant":
        # One string: not every server takes a list of parts. A server reads what a model wrote once more, and must not find a
        # control token in it.
        parts = turn["content"] if not isinstance(turn["content"], str) else [{"text": turn["content"]}]
        return "".join(part["text"] for part in parts).replace("<", "\\u003c")
    if isinstance(turn["content"], str):
        return turn["content"]
    return [
        {"type": "image_url", "image_url": {"url": show(part["image"])}}
        if part["type"] == "image"
        else {"type": "text", "text": part["text"]}
        for part in turn["content"]
    ]


class DataUrls:
    """Images as data URLs. Those sent last are kept, up to `most` characters: an image stands in many questions."""

    def __init__(self, pictures: Pictures, most: int) -> None:
        self.pictures = pictures
        self._most, self._lock, self._known = most, threading.Lock(), OrderedDict[str, str]()

    def __call__(self, image: Image) -> str:
        key = digest(image)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        # Without the lock: threads encode side by side.
        url = f"data:{self.pictures.media_type};base64,{base64.b64encode(self.pictures.encoded(image)).decode()}"
        with self._lock:
            self._known[key] = url
            while len(self._known) > 1 and sum(map(len, self._known.values())) > self._most:
                self._known.popitem(last=False)
        return url
