"""Tiny LongCat-Image and LongCat-Image-Edit: FLUX's blocks, Qwen2.5-VL as a text encoder, renormalised true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    LongCatImageEditPipeline,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
)
from transformers import Qwen2VLImageProcessorPil, Qwen2VLProcessor

from arr_rpo.policy.pictures_only import pictures_only
from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import awaken, vae
from tests.policy.twins.qwen import WIDTH, text_encoder, tokenizer


def small(target_area: int, ratio: float) -> tuple[int, int]:
    """In place of the editing pipeline's choice of a size, which is always about a megapixel."""
    return 64, 64


def save(pipeline: type[LongCatImagePipeline | LongCatImageEditPipeline], folder: Path) -> None:
    torch.manual_seed(0)
    tokens = tokenizer()
    transformer = LongCatImageTransformer2DModel(
        in_channels=64,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=[4, 6, 6],
    )
    awaken(transformer)
    pictures = Qwen2VLImageProcessorPil(patch_size=4, size={"shortest_edge": 8 * 8, "longest_edge": 64 * 64})
    with pictures_only():
        pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=vae(16, scaling_factor=0.3611, shift_factor=0.1159),
            text_encoder=text_encoder(tokens),
            tokenizer=tokens,
            text_processor=Qwen2VLProcessor(pictures, tokens),
            transformer=transformer,
        ).save_pretrained(folder)


def longcat_image(folder: Path) -> None:
    """Saves a tiny `LongCatImagePipeline` to `folder`. Its processor serves prompt rewriting alone, which is off."""
    save(LongCatImagePipeline, folder)


def longcat_image_edit(folder: Path) -> None:
    """Saves a tiny `LongCatImageEditPipeline` to `folder`."""
    save(LongCatImageEditPipeline, folder)


SMALL = {"diffusers.pipelines.longcat_image.pipeline_longcat_image_edit.calculate_dimensions": small}
TWINS = {
    "longcat_image": Twin(build=longcat_image, overrides=["policy.call.height=64", "policy.call.width=64"]),
    "longcat_image_edit": Twin(build=longcat_image_edit, overrides=[], source=True, patches=SMALL),
}
