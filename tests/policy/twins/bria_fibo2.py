"""Tiny Fibo 2.0: layers of Qwen3-VL in bundles of three, one for a Perceiver and the others for single blocks, true CFG."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import BriaFibo2Pipeline, BriaFibo2Transformer2DModel, FlowMatchEulerDiscreteScheduler

from arr_rpo.policy.pictures_only import pictures_only
from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import WIDTH, awaken, flux2_vae, qwen3_vl, qwen3_vl_processor
from tests.policy.twins.parts import qwen_tokenizer


def bria_fibo2(folder: Path) -> None:
    """Saves a tiny `BriaFibo2Pipeline` to `folder`. The pipeline reads layer 35 of its text encoder and five injections."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer()
    transformer = BriaFibo2Transformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=6,
        n_refiner_layers=1,
        n_heads=2,
        cap_feat_dim=3 * WIDTH,
        injection_layer_ids=(1, 2, 3, 4, 5),
        perceiver_num_layers=1,
        min_num_gist_tokens=4,
        max_num_gist_tokens=8,
        gist_step=2,
        gist_min_text_len=16,
        gist_max_text_len=64,
        axes_dims=(4, 6, 6),
        axes_lens=(256, 64, 64),
    )
    awaken(transformer)
    with pictures_only():
        BriaFibo2Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=flux2_vae(4),
            text_encoder=qwen3_vl(tokenizer, layers=36),
            processor=qwen3_vl_processor(tokenizer),
            transformer=transformer,
        ).save_pretrained(folder)


TWINS = {"bria_fibo2": Twin(build=bria_fibo2, overrides=["policy.call.height=64", "policy.call.width=64"])}
