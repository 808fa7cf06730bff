"""The scheduler that makes any flow-matching diffusers pipeline a stochastic policy, and lets one step be gone through
again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteSchedulerOutput
from torch import Tensor

from arr_rpo.formulas.dynamics import Dynamics
from arr_rpo.formulas.gaussian import log_prob
from arr_rpo.types import UserError


@dataclass
class Recording:
    """One pipeline call whose steps in `window` are drawn from `dynamics`, and what they left behind, in order.

    generators: of the noise of each row, one a candidate, so that a row's noise does not depend on its neighbours.
    """

    dynamics: Dynamics
    eta: float
    window: range
    generators: Sequence[torch.Generator]
    latents: list[Tensor] = field(default_factory=list)  # x_t of each stochastic step, and the x_{t-1} of the last one
    means: list[Tensor] = field(default_factory=list)
    log_probs: list[Tensor] = field(default_factory=list)
    step_indices: list[int] = field(default_factory=list)
    clean: Tensor | None = None  # the x_0 that was decoded


def recorded(calls: Sequence[Recording]) -> tuple[Tensor, Tensor, Tensor]:
    """latents_BTD, means_BTD and log_probs_BT of a rollout by some calls; (B, 0) where no step was stochastic."""
    if not calls[0].log_probs:
        none = torch.empty(sum(len(call.generators) for call in calls), 0)
        return none, none, none
    by_call = ((call.latents, call.means, call.log_probs) for call in calls)
    latents, means, log_probs = (torch.cat([torch.stack(steps, 1) for steps in some]) for some in zip(*by_call, strict=True))
    return latents, means, log_probs


class ReplayedStep(NamedTuple):
    """A recorded step under current weights.

    log_probs_B: (b,) of the recorded x_{t-1}, nats a dimension; mean: (b, ...), float32; std: of the step; dt: fall of the
        noise level.
    """

    log_probs_B: Tensor
    mean: Tensor
    std: float
    dt: float


@dataclass
class Probe:
    """One pipeline call that runs a single step of the schedule, and the velocity that the model predicted there."""

    step_index: int
    velocity: Tensor | None = None


class PolicyScheduler(FlowMatchEulerDiscreteScheduler):
    """Takes the place of a pipeline's Euler scheduler; without a mode it is one.

    Recording: the pipeline runs as ever, with stochastic steps. Probe: the pipeline runs one step over the full sigma schedule
    and the model's output is kept.
    """

    mode: Recording | Probe | None = None
    timesteps: Tensor

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: list[float] | None = None,
        mu: float | None = None,
        timesteps: list[float] | None = None,
    ) -> None:
        """As the base's (pipelines inspect these names); with a probe only its timestep is left to run."""
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
        if isinstance(self.mode, Probe):
            self.timesteps = self.timesteps[self.mode.step_index : self.mode.step_index + 1]

    def scale_model_input(self, sample: Tensor, timestep: Tensor | None = None) -> Tensor:
        """The sample itself: some pipelines call this of any scheduler but the base class."""
        return sample

    def step(
        self, model_output: Tensor, timestep: Tensor, sample: Tensor, *args: Any, return_dict: bool = True, **kwargs: Any
    ) -> Any:
        """One step x_t -> x_{t-1}: drawn and recorded, or the base's Euler step; with a probe x_t stays."""
        if isinstance(self.mode, Probe):
            self.mode.velocity = model_output
            return self._output(sample, return_dict)
        if self.mode is None:
            return super().step(model_output, timestep, sample, *args, return_dict=return_dict, **kwargs)
        record = self.mode
        if self.step_index is None:
            self._init_step_index(timestep)
        index = int(self.step_index)
        stochastic = record.eta > 0 and index in record.window
        if stochastic or len(record.latents) == len(record.log_probs) > 0:
            record.latents.append(sample.detach())
        if not stochastic:
            (following,) = super().step(model_output, timestep, sample, *args, return_dict=False, **kwargs)
        else:
            sigma, sigma_next = self.sigmas[index], self.sigmas[index + 1]
            mean, std = record.dynamics(sample.float(), model_output.float(), sigma, sigma_next, record.eta)
            following = (mean + std * _noise(mean, record.generators)).to(sample.dtype)
            record.means.append(mean.detach())
            record.log_probs.append(log_prob(following, mean, std).detach())
            record.step_indices.append(index)
            self._step_index += 1
        if index + 2 >= len(self.sigmas):
            record.clean = following.detach()
        return self._output(following, return_dict)

    @staticmethod
    def _output(sample: Tensor, return_dict: bool) -> Any:
        return FlowMatchEulerDiscreteSchedulerOutput(prev_sample=sample) if return_dict else (sample,)


def _noise(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal of the shape of `like` (b, ...), a row from each of the b generators, drawn on the CPU."""
    if len(like) != len(generators):
        raise UserError(
            f"the pipeline's step has {len(like)} rows for {len(generators)} candidates, so that a row is nobody's: take a "
            "pipeline whose latents have a row a candidate (docs/models.md)"
        )
    return torch.stack([torch.randn(like.shape[1:], generator=generator) for generator in generators]).to(like)
