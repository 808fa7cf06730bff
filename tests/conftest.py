"""Shared fixtures: the embedded policy and judge, loaded once."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Sequence

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes: two that each take both cores are many times slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import DictConfig

from arr_rpo.formulas import dynamics, windows
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.policy.adapter import Lora
from arr_rpo.policy.encodings import Encodings
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.policy.sampler import Sampler


def configure(overrides: Sequence[str], command: str = "train") -> DictConfig:
    """A composed config, as `train.py` or another command would get it."""
    return copy.deepcopy(_composed(tuple(overrides), command))


@functools.cache  # it takes Hydra a fifth of a second, and tests ask for the same ones many times
def _composed(overrides: Sequence[str], command: str) -> DictConfig:
    named = ["name=test"] if command == "train" else []
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose(command, overrides=[*named, *overrides])


def make_sampler(**changes: object) -> Sampler:
    arguments: dict[str, object] = {
        "dynamics": dynamics.flow_sde,
        "eta": 0.7,
        "window": windows.all_steps,
        "shared_noise": False,
    }
    return Sampler(**{**arguments, **changes})  # type: ignore[arg-type]


def small_lora(**changes: object) -> Lora:
    arguments: dict[str, object] = {
        "rank": 4,
        "alpha": 8,
        "target_modules": ["to_q", "to_v"],
        "exclude_modules": None,
        "init_lora_weights": "gaussian",
        "start_from": None,
    }
    return Lora(**{**arguments, **changes})  # type: ignore[arg-type]


def make_policy(**changes: object) -> PipelinePolicy:
    arguments: dict[str, object] = {
        "checkpoint": "shapes",
        "adapter": small_lora(),
        "dtype": "float32",
        "load": {},
        "after_load": [],
        "num_inference_steps": 4,
        "sampler": make_sampler(),
        "batch_size": 128,
        "max_pictures": 1,
        "max_source_side": None,
        "gradient_checkpointing": False,
        "compile": False,
        "release_text_encoders": False,
        "encodings": Encodings(device_gib=1.0, host_gib=1.0),
        "call": {"height": 32, "width": 32, "max_sequence_length": 12},
        "scheduler": {},
    }
    return PipelinePolicy(**{**arguments, **changes})  # type: ignore[arg-type]


def make_judge(*overrides: str) -> VLMJudge:
    """The embedded judge, as `configs/judge/shapes.yaml` has it, with some of its config changed (`judge.model.dtype=...`)."""
    judge = instantiate(configure(["experiment=t2i_rpo", *overrides]).judge)
    assert isinstance(judge, VLMJudge)
    return judge


@pytest.fixture(scope="session")
def judge() -> VLMJudge:
    return make_judge()


def assert_same_picture(one: np.ndarray, other: np.ndarray) -> None:
    """Bit for bit on most runs. A CPU's kernels round by how their inputs lie in memory (seen with Kandinsky: 6e-7 in a
    velocity, from inputs equal to the bit), which may turn a grey value by one."""
    difference = np.abs(one.astype(int) - other.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.98


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker is left alone with one at the end (`make test` keeps this order)."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
