"""What a policy of real size takes on this GPU, with random weights, beside what `arr-rpo plan` foretells.

    python experiments/gpu/memory.py flux1_dev sd35_medium ...

Prints for each policy the GiB that torch had allocated at most, and seconds, of a training step (forward and backward of one
candidate), without and with gradient checkpointing, and of a rollout of one pipeline call. On a CPU only the seconds are real.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils._pytree import tree_map_only

from arr_rpo.commands.plan import plan
from arr_rpo.policy.memory_plan import GIB, training_step
from arr_rpo.policy.scheduler import PolicyScheduler
from arr_rpo.policy.skeleton import call_arguments, read_architecture, skeleton

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def materialize(pipe: Any) -> None:
    """Random weights of a plausible size on the device, for the pipeline's meta tensors."""
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.to_empty(device=DEVICE)
            for tensor in [*part.parameters(), *part.buffers()]:
                if tensor.is_floating_point():
                    torch.nn.init.normal_(tensor, std=0.02)
                else:
                    tensor.zero_()
    pipe.transformer._forward_pre_hooks.clear()  # which sent its inputs to the meta device
    pipe.scheduler = PolicyScheduler()


def measured(step: Any) -> tuple[float, float]:
    """GiB at most and seconds, of the second of two runs."""
    for _ in range(2):
        if DEVICE.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() / GIB if DEVICE.type == "cuda" else 0.0), time.perf_counter() - start


def main(name: str) -> None:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("plan", [f"policy={name}"])
    expected, policy = plan(config), config.policy
    call: Any = OmegaConf.to_container(policy.call, resolve=True)
    pipe = skeleton(read_architecture(policy.checkpoint), getattr(torch, policy.dtype))
    materialize(pipe)
    adapter = instantiate(policy.adapter)
    adapter.attach(pipe)
    trained = list(adapter.parameters().values())
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    state = [torch.zeros_like(p) for p in trained for _ in range(2)]  # as AdamW's moments

    def arguments(n: int) -> dict[str, Any]:
        made = call_arguments(pipe, call, None, n)
        filled = tree_map_only(torch.Tensor, lambda t: torch.randn(t.shape, device=DEVICE, dtype=t.dtype) * 0.1, made)
        return dict(filled)

    def rollout() -> None:
        pipe(num_inference_steps=policy.num_inference_steps, output_type="pt", **arguments(policy.batch_size))

    peaks = {key: peak - expected.encodings for key, peak in expected.peaks().items()}  # none are kept here
    train = functools.partial(training_step, pipe, [functools.partial(arguments, 1)])
    rows = []
    for label, key in (("training", "training"), ("training, checkpointed", "training_checkpointed")):
        if key == "training_checkpointed":
            pipe.transformer.enable_gradient_checkpointing()
        rows.append((label, key, *measured(train)))
    pipe.scheduler.mode = None
    rows.append((f"rollout of {policy.batch_size}", "rollout", *measured(rollout)))
    for label, key, gib, seconds in rows:
        print(f"{name:18} {label:24} plan {peaks[key] / GIB:7.2f} GiB  measured {gib:7.2f} GiB  {seconds:7.2f} s", flush=True)
    del state


if __name__ == "__main__":
    torch.backends.cuda.enable_cudnn_sdp(False)  # as `PipelinePolicy` has it
    for name in sys.argv[1:]:
        main(name)
        if DEVICE.type == "cuda":
            torch.cuda.empty_cache()
