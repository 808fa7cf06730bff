"""Processors of Qwen's vision-language models without video, hence without torchvision.

They read and write the hub's folder layout. Their names are those of the bases, so that saved folders say what the hub's say.
The signatures are what the library reads a processor's parts from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers

from arr_rpo.whole_files import write_text


class Qwen2VLProcessor(transformers.Qwen2VLProcessor):
    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **kwargs: Any) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)


class Qwen2_5_VLProcessor(transformers.Qwen2_5_VLProcessor):  # noqa: N801 - the base's name
    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **kwargs: Any) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)


class Qwen3VLProcessor(transformers.Qwen3VLProcessor):
    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **kwargs: Any) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template, **kwargs)


PROCESSORS: dict[str, Any] = {
    "qwen2_vl": Qwen2VLProcessor,
    "qwen2_5_vl": Qwen2_5_VLProcessor,
    "qwen3_vl": Qwen3VLProcessor,
    "qwen3_vl_moe": Qwen3VLProcessor,
}

SHARED = (
    *("do_resize", "do_normalize", "do_rescale", "image_mean", "image_std"),
    *("patch_size", "merge_size", "temporal_patch_size", "size"),
)


def save_qwen3_vl(processor: Any, folder: Path) -> None:
    """Writes a processor so that the stock `AutoProcessor`, and with it vLLM, finds the video processor that it asks for."""
    processor.save_pretrained(folder)
    path = folder / "processor_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    pictures = config["image_processor"]
    video = {"video_processor_type": "Qwen3VLVideoProcessor", **{key: pictures[key] for key in SHARED}}
    write_text(path, json.dumps({**config, "video_processor": video}, indent=2, sort_keys=True) + "\n")
