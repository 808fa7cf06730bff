"""Tiny Z-Image: one stream of tokens, latents and prompts as lists, the sign of time and velocity turned around."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from transformers import Qwen3Config, Qwen3Model

from tests.policy.twins.base import Twin
from tests.policy.twins.parts import QWEN3_CHAT_TEMPLATE, kl_autoencoder, qwen_text, qwen_tokenizer

WIDTH = 32


def z_image(folder: Path) -> None:
    """Saves a tiny `ZImagePipeline` to `folder`."""
    torch.manual_seed(0)
    tokens = qwen_tokenizer("user assistant")
    tokens.chat_template = QWEN3_CHAT_TEMPLATE
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=kl_autoencoder(scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=Qwen3Model(Qwen3Config(**qwen_text(tokens, WIDTH, 3), head_dim=WIDTH // 2)),
        tokenizer=tokens,
        transformer=ZImageTransformer2DModel(
            in_channels=16,
            dim=WIDTH,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[4, 6, 6],
            axes_lens=[256, 64, 64],
        ),
    ).save_pretrained(folder)


TWINS = {
    "z_image": Twin(
        build=z_image,
        overrides=["policy.call.height=32", "policy.call.width=32", "policy.call.max_sequence_length=96"],
        source=False,
    ),
}
