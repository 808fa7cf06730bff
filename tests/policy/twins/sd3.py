"""Tiny Stable Diffusion 3.5 Medium and Large. Medium is an MMDiT-X, whose first blocks attend to the picture a second time."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextModelWithProjection

from tests.policy.twins.base import Twin
from tests.policy.twins.parts import clip_config, clip_tokenizer, kl_autoencoder, t5_encoder, t5_tokenizer


def _save(folder: Path, dual_attention_layers: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=kl_autoencoder(scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=CLIPTextModelWithProjection(clip_config(clip, 16)),
        tokenizer=clip,
        text_encoder_2=CLIPTextModelWithProjection(clip_config(clip, 16)),
        tokenizer_2=clip,
        text_encoder_3=t5_encoder(t5, 32),
        tokenizer_3=t5,
        transformer=SD3Transformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=16,
            num_layers=3,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=32,
            pooled_projection_dim=32,
            out_channels=16,
            pos_embed_max_size=32,
            dual_attention_layers=dual_attention_layers,
            qk_norm="rms_norm",
        ),
    ).save_pretrained(folder)


def sd35_medium(folder: Path) -> None:
    """Saves a tiny `StableDiffusion3Pipeline` with dual attention in two of its three blocks to `folder`."""
    _save(folder, dual_attention_layers=(0, 1))


def sd35_large(folder: Path) -> None:
    """Saves a tiny `StableDiffusion3Pipeline` of plain MMDiT blocks to `folder`."""
    _save(folder, dual_attention_layers=())


OVERRIDES = [
    "policy.call.height=32",
    "policy.call.width=32",
    "policy.call.max_sequence_length=96",
    "policy.adapter.exclude_modules='transformer_blocks.2.attn.add_q_proj'",
]
TWINS = {
    "sd35_medium": Twin(build=sd35_medium, overrides=OVERRIDES, source=False),
    "sd35_large": Twin(build=sd35_large, overrides=OVERRIDES, source=False),
}
