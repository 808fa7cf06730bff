"""Tiny Lumina-Image-2.0: one stream of text and image tokens, Gemma2's next-to-last layer, renormalised true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, gemma_encoder, gemma_tokenizer, vae


def lumina2(folder: Path) -> None:
    """Saves a tiny `Lumina2Pipeline` to `folder`."""
    torch.manual_seed(0)
    Lumina2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=vae(4, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=gemma_encoder(),
        tokenizer=gemma_tokenizer(),
        transformer=Lumina2Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            hidden_size=48,
            num_layers=2,
            num_refiner_layers=1,
            num_attention_heads=3,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 6, 6),
            axes_lens=(300, 32, 32),
            cap_feat_dim=WIDTH,
        ),
    ).save_pretrained(folder)


TWINS = {
    "lumina2": Twin(
        build=lumina2,
        overrides=[
            "policy.call.height=64",
            "policy.call.width=64",
            "policy.call.max_sequence_length=96",
            "+policy.call.system_prompt=Draw",
        ],
        source=False,
    )
}
