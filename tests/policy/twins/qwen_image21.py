"""Tiny Qwen-Image-2.1: unpacked latents of an autoencoder that divides by 16, causal text tokens, Qwen3-VL, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage21,
    FlowMatchEulerDiscreteScheduler,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
)

from arr_rpo.policy.pictures_only import pictures_only
from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, qwen3_vl, qwen3_vl_processor
from tests.policy.twins.parts import qwen_tokenizer


def qwen_image21(folder: Path) -> None:
    """Saves a tiny `QwenImage21Pipeline` to `folder`."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    transformer = QwenImage21Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        context_in_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    awaken(transformer)
    with pictures_only():
        QwenImage21Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(
                use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, shift_terminal=0.02
            ),
            vae=AutoencoderKLQwenImage21(
                base_dim=4,
                decoder_base_dim=4,
                z_dim=4,
                dim_mult=[1, 1, 1, 1, 1],
                num_res_blocks=1,
                latents_mean=[0.0] * 4,
                latents_std=[1.0] * 4,
            ),
            text_encoder=qwen3_vl(tokenizer),
            processor=qwen3_vl_processor(tokenizer),
            transformer=transformer,
        ).save_pretrained(folder)


TWINS = {
    "qwen_image21": Twin(
        build=qwen_image21,
        overrides=["policy.call.height=64", "policy.call.width=64"],
    )
}
