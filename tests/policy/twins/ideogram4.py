"""Tiny Ideogram 4: text and image in one packed sequence, a second transformer for the unconditional half of the guidance."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Ideogram4Pipeline, Ideogram4Transformer2DModel

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import CHAT_TEMPLATE, WIDTH, awaken, flux2_vae, qwen3_vl
from tests.policy.twins.parts import qwen_tokenizer

TAPPED = 13  # layers of the text encoder, of which the pipeline reads the last as number 35


def transformer() -> Ideogram4Transformer2DModel:
    model = Ideogram4Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        intermediate_size=48,
        adaln_dim=16,
        llm_features_dim=TAPPED * WIDTH,
        mrope_section=(4, 2, 2),
    )
    awaken(model)
    return model


def ideogram4(folder: Path) -> None:
    """Saves a tiny `Ideogram4Pipeline` to `folder`, without its prompt enhancer."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    Ideogram4Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=flux2_vae(4),
        text_encoder=qwen3_vl(tokenizer, layers=36).model,
        tokenizer=tokenizer,
        transformer=transformer(),
        unconditional_transformer=transformer(),
    ).save_pretrained(folder)


TWINS = {
    "ideogram4": Twin(
        build=ideogram4,
        overrides=["policy.call.height=64", "policy.call.width=64", "policy.call.max_sequence_length=96"],
        source=False,
    )
}
