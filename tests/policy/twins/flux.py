"""Tiny FLUX.1-dev and FLUX.1-Kontext-dev: guidance is an input of the transformer, not a second call of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel

from tests.policy.twins.base import Twin
from tests.policy.twins.parts import clip_config, clip_tokenizer, kl_autoencoder, loud, t5_encoder, t5_tokenizer


def components() -> dict[str, Any]:
    """Both pipelines have the same: 2 double and 2 single blocks."""
    torch.manual_seed(0)
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": kl_autoencoder(scaling_factor=0.3611, shift_factor=0.1159),
        "text_encoder": CLIPTextModel(clip_config(clip, 32)),
        "tokenizer": clip,
        "text_encoder_2": t5_encoder(t5, 32),
        "tokenizer_2": t5,
        "transformer": loud(
            FluxTransformer2DModel(
                patch_size=1,
                in_channels=64,
                num_layers=2,
                num_single_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=32,
                pooled_projection_dim=32,
                guidance_embeds=True,
                axes_dims_rope=(4, 6, 6),
            )
        ),
    }


def flux1_dev(folder: Path) -> None:
    """Saves a tiny `FluxPipeline` to `folder`."""
    FluxPipeline(**components()).save_pretrained(folder)


def flux1_kontext_dev(folder: Path) -> None:
    """Saves a tiny `FluxKontextPipeline` to `folder`."""
    FluxKontextPipeline(**components()).save_pretrained(folder)


SIZE = ["policy.call.height=32", "policy.call.width=32", "policy.call.max_sequence_length=96"]
TWINS = {
    "flux1_dev": Twin(build=flux1_dev, overrides=SIZE, source=False),
    "flux1_kontext_dev": Twin(build=flux1_kontext_dev, overrides=[*SIZE, "policy.call.max_area=1024"], source=True),
}
