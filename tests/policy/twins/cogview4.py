"""Tiny CogView4: one attention over left-padded GLM features and image tokens, size conditions, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import CogView4Pipeline, CogView4Transformer2DModel, FlowMatchEulerDiscreteScheduler

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, fast_tokenizer, glm_encoder, vae


def cogview4(folder: Path) -> None:
    """Saves a tiny `CogView4Pipeline` to `folder`."""
    torch.manual_seed(0)
    transformer = CogView4Transformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        pos_embed_max_size=16,
        sample_size=8,
        rope_axes_dim=(16, 16),
    )
    awaken(transformer)
    CogView4Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
        ),
        vae=vae(4),
        text_encoder=glm_encoder(),
        tokenizer=fast_tokenizer(padding_side="left"),
        transformer=transformer,
    ).save_pretrained(folder)


TWINS = {
    "cogview4": Twin(
        build=cogview4,
        overrides=["policy.call.height=64", "policy.call.width=64", "policy.call.max_sequence_length=64"],
        source=False,
    )
}
