"""Tiny Chroma: FLUX's blocks with one network for all modulations, and true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, t5_encoder, vae
from tests.policy.twins.parts import t5_tokenizer


def chroma(folder: Path) -> None:
    """Saves a tiny `ChromaPipeline` to `folder`."""
    torch.manual_seed(0)
    ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_beta_sigmas=False, shift=1.0),
        vae=vae(4, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=t5_encoder(),
        tokenizer=t5_tokenizer(),
        transformer=ChromaTransformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
            approximator_num_channels=16,
            approximator_hidden_dim=32,
            approximator_layers=1,
        ),
    ).save_pretrained(folder)


TWINS = {
    "chroma": Twin(
        build=chroma,
        overrides=["policy.call.height=64", "policy.call.width=64", "policy.call.max_sequence_length=64"],
        source=False,
    )
}
