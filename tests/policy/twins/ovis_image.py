"""Tiny Ovis-Image: FLUX-like blocks with gated feed-forwards, Qwen3, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, OvisImagePipeline, OvisImageTransformer2DModel

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import CHAT_TEMPLATE, WIDTH, awaken, qwen3_encoder, vae
from tests.policy.twins.parts import qwen_tokenizer

TEMPLATE = (  # the pipeline cuts off the first 28 tokens
    "user\nDescribe the image by detailing the color, quantity, text, shape, size, texture, spatial relationships of the "
    "objects and background: assistant"
)


def ovis_image(folder: Path) -> None:
    """Saves a tiny `OvisImagePipeline` to `folder`."""
    torch.manual_seed(0)
    transformer = OvisImageTransformer2DModel(
        in_channels=16,
        out_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    awaken(transformer)
    tokenizer = qwen_tokenizer(TEMPLATE)
    tokenizer.chat_template = CHAT_TEMPLATE
    OvisImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae(4, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=qwen3_encoder(),
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)


TWINS = {
    "ovis_image": Twin(
        build=ovis_image,
        overrides=["policy.call.height=64", "policy.call.width=64", "policy.call.max_sequence_length=64"],
        source=False,
    )
}
