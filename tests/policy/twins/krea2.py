"""Tiny Krea 2: one stream with gated attention, several layers of Qwen3-VL fused a token at a time, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Krea2Pipeline, Krea2Transformer2DModel

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, qwen3_vl, qwen_vae
from tests.policy.twins.parts import qwen_tokenizer

TEMPLATE = (  # the pipeline cuts off the first 34 tokens
    "system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the "
    "objects and background:\nuser\nassistant\n"
)


def krea2(folder: Path) -> None:
    """Saves a tiny `Krea2Pipeline` to `folder`."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer(TEMPLATE)
    transformer = Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        timestep_embed_dim=16,
        text_hidden_dim=WIDTH,
        num_text_layers=2,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=48,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    awaken(transformer)
    Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=1.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, max_image_seq_len=6400
        ),
        vae=qwen_vae(4),
        text_encoder=qwen3_vl(tokenizer).model,
        tokenizer=tokenizer,
        transformer=transformer,
        text_encoder_select_layers=(1, 2),
    ).save_pretrained(folder)


TWINS = {
    "krea2": Twin(
        build=krea2,
        overrides=["policy.call.height=64", "policy.call.width=64", "policy.call.max_sequence_length=64"],
        source=False,
    )
}
