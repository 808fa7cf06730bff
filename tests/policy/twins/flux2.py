"""Tiny FLUX.2 klein (base): prompts are three layers of a Qwen3, guidance is true CFG against the empty prompt."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.policy.twins.base import Twin
from tests.policy.twins.parts import QWEN3_CHAT_TEMPLATE, loud, qwen_text, qwen_tokenizer

WIDTH = 16


def autoencoder() -> AutoencoderKLFlux2:
    """Four pixels a latent side, 8 channels, and the running mean and variance by which the pipeline scales latents."""
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=4,
    )
    vae.bn.running_mean.normal_(0, 0.1)
    vae.bn.running_var.uniform_(0.5, 2)
    return vae


def flux2_klein(folder: Path) -> None:
    """Saves a tiny `Flux2KleinPipeline` to `folder`, whose text encoder has the 27 layers that the pipeline reads."""
    torch.manual_seed(0)
    tokens = qwen_tokenizer("user assistant <think></think>")
    tokens.chat_template = QWEN3_CHAT_TEMPLATE
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoder(),
        text_encoder=Qwen3ForCausalLM(Qwen3Config(**qwen_text(tokens, WIDTH, 28), head_dim=WIDTH // 2)),
        tokenizer=tokens,
        transformer=loud(
            Flux2Transformer2DModel(
                in_channels=32,
                num_layers=2,
                num_single_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=3 * WIDTH,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            )
        ),
        is_distilled=False,
    ).save_pretrained(folder)


TWINS = {
    "flux2_klein": Twin(
        build=flux2_klein,
        overrides=["policy.call.height=32", "policy.call.width=32", "policy.call.max_sequence_length=96"],
        source=False,
    ),
}
