"""Vision-language processors for pictures only: the stock ones ask for a video processor, which needs torchvision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import transformers
from transformers.utils import is_torchvision_available

NAMES = ("Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor")


@contextlib.contextmanager
def pictures_only() -> Iterator[None]:
    """Inside, where torchvision is missing, Qwen's processors are made without their video part: they load and save as ever."""
    classes = [] if is_torchvision_available() else [getattr(transformers, name) for name in NAMES]
    before = {cls: cls.__init__ for cls in classes}
    for cls in classes:
        cls.__init__ = _without_video(before[cls])
    try:
        yield
    finally:
        for cls, init in before.items():
            cls.__init__ = init


def _without_video(init: Callable[..., None]) -> Callable[..., None]:
    def without_video(  # the mixin reads a processor's parts from these names
        self: Any, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **kwargs: Any
    ) -> None:
        init(self, image_processor, tokenizer, chat_template=chat_template, **kwargs)

    return without_video
