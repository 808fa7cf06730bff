"""Tiny FLUX.2-dev: prompts are three layers of a Mistral 3, guidance is distilled."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Flux2Pipeline, Flux2Transformer2DModel

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, fast_tokenizer, flux2_vae, mistral_encoder


def flux2_dev(folder: Path) -> None:
    """Saves a tiny `Flux2Pipeline` to `folder`. `max_sequence_length` must have room for the system's message too."""
    torch.manual_seed(0)
    Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=flux2_vae(4),
        text_encoder=mistral_encoder(layers=3),
        tokenizer=fast_tokenizer(padding_side="left"),
        transformer=Flux2Transformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * WIDTH,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
        ),
    ).save_pretrained(folder)


TWINS = {
    "flux2_dev": Twin(
        build=flux2_dev,
        overrides=[
            "policy.call.height=64",
            "policy.call.width=64",
            "policy.call.max_sequence_length=288",
            "+policy.call.text_encoder_out_layers=[1,2,3]",
        ],
        source=False,
    )
}
