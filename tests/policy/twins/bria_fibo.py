"""Tiny FIBO: every block reads a layer of SmolLM3 of its own, latents of Wan's autoencoder, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, BriaFiboPipeline, BriaFiboTransformer2DModel, FlowMatchEulerDiscreteScheduler
from transformers import SmolLM3Config, SmolLM3ForCausalLM

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, fast_tokenizer, text_shape


def bria_fibo(folder: Path) -> None:
    """Saves a tiny `BriaFiboPipeline` to `folder`."""
    torch.manual_seed(0)
    transformer = BriaFiboTransformer2DModel(
        in_channels=4,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        axes_dims_rope=[4, 6, 6],
        text_encoder_dim=WIDTH,
    )
    awaken(transformer)
    BriaFiboPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=AutoencoderKLWan(
            base_dim=8,
            decoder_base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, False, False],
            is_residual=True,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            scale_factor_spatial=16,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        text_encoder=SmolLM3ForCausalLM(SmolLM3Config(**text_shape())),
        tokenizer=fast_tokenizer(padding_side="right"),
        transformer=transformer,
    ).save_pretrained(folder)


TWINS = {
    "bria_fibo": Twin(
        build=bria_fibo,
        # An empty prompt is token 128000, whatever the tokenizer: more than this text encoder has.
        overrides=["policy.call.height=64", "policy.call.width=64", "+policy.call.negative_prompt=blurred"],
    )
}
