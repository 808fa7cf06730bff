"""Tiny NucleusMoE-Image: a mixture of experts, Qwen3-VL, renormalised true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, NucleusMoEImagePipeline, NucleusMoEImageTransformer2DModel

from arr_rpo.policy.pictures_only import pictures_only
from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, qwen3_vl, qwen3_vl_processor, qwen_vae
from tests.policy.twins.parts import qwen_tokenizer


def nucleus_moe_image(folder: Path) -> None:
    """Saves a tiny `NucleusMoEImagePipeline` to `folder`."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    transformer = NucleusMoEImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=5,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
        num_experts=4,
        moe_intermediate_dim=16,
        capacity_factors=2.0,
    )
    awaken(transformer)
    for name, parameter in transformer.named_parameters():
        if "experts" in name:  # the class leaves them as they are in memory
            torch.nn.init.normal_(parameter.data, std=0.1)
    with pictures_only():
        NucleusMoEImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=qwen_vae(4),
            text_encoder=qwen3_vl(tokenizer, layers=8),
            processor=qwen3_vl_processor(tokenizer),
            transformer=transformer,
        ).save_pretrained(folder)


TWINS = {
    "nucleus_moe_image": Twin(
        build=nucleus_moe_image,
        overrides=["policy.call.height=64", "policy.call.width=64"],
    )
}
