"""Tiny ERNIE-Image: one stream of patchwise normalised FLUX.2 latents and Mistral features of any length, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ErnieImagePipeline, ErnieImageTransformer2DModel, FlowMatchEulerDiscreteScheduler

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, fast_tokenizer, flux2_vae, mistral_encoder


def ernie_image(folder: Path) -> None:
    """Saves a tiny `ErnieImagePipeline` to `folder`, without the prompt enhancer that a checkpoint may have."""
    torch.manual_seed(0)
    transformer = ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=2,
        ffn_hidden_size=48,
        in_channels=16,
        out_channels=16,
        text_in_dim=WIDTH,
        rope_axes_dim=(4, 6, 6),
    )
    awaken(transformer)
    ErnieImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=4.0),
        vae=flux2_vae(4),
        text_encoder=mistral_encoder().model,
        tokenizer=fast_tokenizer(padding_side="right"),
        transformer=transformer,
    ).save_pretrained(folder)


TWINS = {
    "ernie_image": Twin(
        build=ernie_image,
        overrides=["policy.call.height=64", "policy.call.width=64"],
        source=False,
    )
}
