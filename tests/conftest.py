"""Shared fixtures: the embedded policy and judge, loaded once."""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.policy.adapter import Lora
from arr_rpo.policy.pipeline import PipelinePolicy


def configure(overrides: Sequence[str]) -> DictConfig:
    """A composed training config, as `train.py` would get it."""
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose("train", overrides=["name=test", *overrides])


def make_policy(**changes: object) -> PipelinePolicy:
    arguments: dict[str, object] = {
        "checkpoint": "shapes",
        "adapter": Lora(rank=4, alpha=8, target_modules=["to_q", "to_v"], init_lora_weights="gaussian"),
        "dtype": "float32",
        "num_inference_steps": 4,
        "eta": 0.7,
        "shared_noise": False,
        "scheduler": {},
        "call": {"height": 32, "width": 32, "max_sequence_length": 12},
    }
    return PipelinePolicy(**{**arguments, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def judge() -> VLMJudge:
    return VLMJudge(
        checkpoint="shapes",
        wording="shapes",
        describe=True,
        dtype="float32",
        device="cpu",
        batch_size=64,
        tie_margin=0.1,
        min_choice_mass=0.5,
        max_description_tokens=24,
        max_rubric_tokens=128,
    )
