"""Floating-point operations of one candidate's pass through a policy's transformer, counted by torch on its meta device.

    python experiments/scaling/flops.py [flux1_dev ...]

Nothing is downloaded or computed. A multiplication and an addition count as two.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

from arr_rpo.commands.cli.quiet import quieten
from arr_rpo.policy.memory_plan import training_step
from arr_rpo.policy.skeleton import call_arguments, read_architecture, skeleton

TERA = 1e12


def counted(name: str) -> dict[str, float]:
    """TFLOP of a forward pass, and of a training step (forward, and backward to the LoRA alone), without and with gradient
    checkpointing."""
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        policy = compose("plan", [f"policy={name}"]).policy
    call: Any = OmegaConf.to_container(policy.call, resolve=True)
    pipe = skeleton(read_architecture(policy.checkpoint), getattr(torch, policy.dtype))
    instantiate(policy.adapter).attach(pipe)
    counter = FlopCounterMode(display=False)
    around_forward: list[int] = []
    pipe.transformer.register_forward_pre_hook(lambda *_: around_forward.append(counter.get_total_flops()))
    pipe.transformer.register_forward_hook(lambda *_: around_forward.append(counter.get_total_flops()))

    def step() -> float:
        with counter:
            training_step(pipe, [lambda: call_arguments(pipe, call, None, 1)])
        return counter.get_total_flops() / TERA

    plain = step()
    before, after = around_forward
    pipe.transformer.enable_gradient_checkpointing()
    return {"forward": (after - before) / TERA, "training": plain, "training, gradient checkpointing": step()}


def main() -> None:
    quieten()
    for name in sys.argv[1:] or ["flux1_dev"]:
        for label, tera in counted(name).items():
            print(f"{name:18} {label:34} {tera:8.2f} TFLOP")


if __name__ == "__main__":
    main()
