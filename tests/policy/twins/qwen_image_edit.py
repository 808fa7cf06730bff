"""Tiny Qwen-Image-Edit, the first one: its one source image is shown to the text encoder as large as to the transformer."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import QwenImageEditPipeline
from transformers import Qwen2VLImageProcessorPil, Qwen2VLProcessor

from arr_rpo.policy.processor import pictures_only
from tests.policy.twins.base import Twin
from tests.policy.twins.qwen import OVERRIDES, autoencoder, scheduler, text_encoder, tokenizer, transformer


def small(target_area: int, ratio: float) -> tuple[int, int, None]:
    """In place of the pipeline's choice of a size, which is always about a megapixel."""
    return 32, 32, None


def qwen_image_edit(folder: Path) -> None:
    """Saves a tiny `QwenImageEditPipeline` to `folder`."""
    torch.manual_seed(0)
    tokens = tokenizer()
    pictures = Qwen2VLImageProcessorPil(patch_size=4, size={"shortest_edge": 8 * 8, "longest_edge": 64 * 64})
    with pictures_only():
        QwenImageEditPipeline(
            scheduler=scheduler(),
            vae=autoencoder(),
            text_encoder=text_encoder(tokens),
            tokenizer=tokens,
            processor=Qwen2VLProcessor(pictures, tokens),
            transformer=transformer(),
        ).save_pretrained(folder)


TWINS = {
    "qwen_image_edit": Twin(
        build=qwen_image_edit,
        overrides=OVERRIDES,
        source=True,
        patches={
            "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit.calculate_dimensions": small,
        },
    )
}
