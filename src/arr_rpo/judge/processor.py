"""A Qwen3-VL processor without video, hence without torchvision."""

from __future__ import annotations

from typing import Any

import transformers


class Qwen3VLProcessor(transformers.Qwen3VLProcessor):
    """Reads and writes the hub's folder layout. The name is the base's, so that saved folders say what the hub's say."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **kwargs: Any) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)
