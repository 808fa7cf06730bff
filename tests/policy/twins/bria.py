"""Tiny BRIA 3.2: FLUX-like blocks without pooled text, T5, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import BriaPipeline, BriaTransformer2DModel, FlowMatchEulerDiscreteScheduler

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, t5_encoder, vae
from tests.policy.twins.parts import t5_tokenizer


def bria(folder: Path) -> None:
    """Saves a tiny `BriaPipeline` to `folder`."""
    torch.manual_seed(0)
    transformer = BriaTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=[4, 6, 6],
    )
    awaken(transformer)
    BriaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae(4, scaling_factor=0.13025),
        text_encoder=t5_encoder(),
        tokenizer=t5_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)


TWINS = {
    "bria": Twin(
        build=bria,
        overrides=["policy.call.height=64", "policy.call.width=64", "policy.call.max_sequence_length=64"],
        source=False,
    )
}
