"""The scheduler that makes any flow-matching diffusers pipeline a stochastic policy, and records what replay needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteSchedulerOutput
from torch import Tensor

from arr_rpo.algorithm.gaussian import flow_sde_step, log_prob


@dataclass(frozen=True)
class Replay:
    """One recorded step to go through again: its index in the schedule and the x_{t-1} that was drawn."""

    step_index: int
    next_sample: Tensor


@dataclass
class Recording:
    """What the stochastic steps of one pipeline call left behind, in order."""

    latents: list[Tensor] = field(default_factory=list)  # x_t of each stochastic step, and the last x_{t-1}
    log_probs: list[Tensor] = field(default_factory=list)
    step_indices: list[int] = field(default_factory=list)


class FlowSDEScheduler(FlowMatchEulerDiscreteScheduler):
    """Flow-GRPO's stochastic sampler (arXiv 2505.05470) in place of the pipeline's Euler scheduler.

    Two modes. `record`: the pipeline runs as ever; all steps but the last are stochastic. `replay`: the pipeline runs
    one recorded step over the full sigma schedule; `mean`, `std` and `step_log_prob` are then those under current weights.
    """

    eta: float = 0.0
    generator: torch.Generator | None = None
    recording: Recording | None = None
    replay: Replay | None = None
    timesteps: Tensor
    mean: Tensor
    std: float
    step_log_prob: Tensor

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: list[float] | None = None,
        mu: float | None = None,
        timesteps: list[float] | None = None,
    ) -> None:
        """As the base's (pipelines inspect these names); in replay mode only the recorded timestep is left to run."""
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
        if self.replay is not None:
            self.timesteps = self.timesteps[self.replay.step_index : self.replay.step_index + 1]

    def set_begin_index(self, begin_index: int = 0) -> None:
        super().set_begin_index(begin_index + (self.replay.step_index if self.replay is not None else 0))

    def step(
        self, model_output: Tensor, timestep: Tensor, sample: Tensor, *args: Any, return_dict: bool = True, **kwargs: Any
    ) -> Any:
        """One step x_t -> x_{t-1}: drawn and recorded, replayed, or (the last one, and at eta 0) the base's Euler step."""
        if self.step_index is None:
            self._step_index = self.replay.step_index if self.replay is not None else int(self.begin_index or 0)
        index = int(self.step_index)
        is_last = index + 2 >= len(self.sigmas)
        if self.replay is None and (self.eta == 0 or is_last):
            if self.recording is not None and len(self.recording.latents) == len(self.recording.log_probs) > 0:
                self.recording.latents.append(sample.detach())  # x_{t-1} of the last stochastic step
            return super().step(model_output, timestep, sample, *args, return_dict=return_dict, **kwargs)
        self.mean, self.std = flow_sde_step(
            sample.float(), model_output.float(), self.sigmas[index], self.sigmas[index + 1], self.eta
        )
        if self.replay is not None:
            next_sample = self.replay.next_sample.to(self.mean)
        else:
            noise = torch.randn(self.mean.shape, generator=self.generator).to(self.mean)
            next_sample = (self.mean + self.std * noise).to(sample.dtype)
        self.step_log_prob = log_prob(next_sample, self.mean, self.std)
        if self.recording is not None:
            self.recording.latents.append(sample.detach())
            self.recording.log_probs.append(self.step_log_prob.detach())
            self.recording.step_indices.append(index)
        self._step_index += 1
        out = next_sample.to(sample.dtype)
        return FlowMatchEulerDiscreteSchedulerOutput(prev_sample=out) if return_dict else (out,)
