"""Tiny Sana: linear attention, an autoencoder that divides by 32, Gemma2, true CFG. Its checkpoints come with a DPM solver."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, SanaPipeline, SanaTransformer2DModel

from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, gemma_encoder, gemma_tokenizer


def sana(folder: Path) -> None:
    """Saves a tiny `SanaPipeline` to `folder`."""
    torch.manual_seed(0)
    blocks = 6
    SanaPipeline(
        scheduler=DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, solver_order=2
        ),
        vae=AutoencoderDC(
            latent_channels=4,
            attention_head_dim=4,
            encoder_block_types=("ResBlock",) * blocks,
            decoder_block_types=("ResBlock",) * blocks,
            encoder_block_out_channels=(4, 4, 8, 8, 8, 8),
            decoder_block_out_channels=(4, 4, 8, 8, 8, 8),
            encoder_layers_per_block=(1,) * blocks,
            decoder_layers_per_block=(1,) * blocks,
            encoder_qkv_multiscales=((),) * blocks,
            decoder_qkv_multiscales=((),) * blocks,
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.41407,
        ),
        text_encoder=gemma_encoder(),
        tokenizer=gemma_tokenizer(),
        transformer=SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=2,
            num_cross_attention_heads=2,
            cross_attention_head_dim=16,
            cross_attention_dim=32,
            caption_channels=WIDTH,
            sample_size=32,
        ),
    ).save_pretrained(folder)


TWINS = {
    "sana": Twin(
        build=sana,
        overrides=[
            "policy.call.height=128",
            "policy.call.width=128",
            "policy.call.max_sequence_length=64",
            "+policy.call.use_resolution_binning=false",
        ],
        source=False,
    )
}
