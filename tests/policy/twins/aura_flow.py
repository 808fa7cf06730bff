"""Tiny AuraFlow: joint and single blocks without positions for the text, UMT5, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel, FlowMatchEulerDiscreteScheduler

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, umt5_encoder, vae
from tests.policy.twins.parts import t5_tokenizer


def aura_flow(folder: Path) -> None:
    """Saves a tiny `AuraFlowPipeline` to `folder`."""
    torch.manual_seed(0)
    transformer = AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=2,
        num_single_dit_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=32,
        pos_embed_max_size=64,
    )
    awaken(transformer, gain=2.0)
    AuraFlowPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
        vae=vae(4, scaling_factor=0.13025),
        text_encoder=umt5_encoder(),
        tokenizer=t5_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)


TWINS = {
    "aura_flow": Twin(
        build=aura_flow,
        overrides=["policy.call.height=64", "policy.call.width=64", "policy.call.max_sequence_length=64"],
        source=False,
    )
}
