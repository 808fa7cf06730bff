"""The knobs of an update, and what every objective can do. Every value stands in `configs/algorithm`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Rollout


class Task(NamedTuple):
    """What one backward pass is about.

    units: (n, k) rows of the rollout, k of them belonging together. step: number of one of the objective's steps.
    advantages_B: (B,) of the whole rollout. old: the weights that rolled out, for an objective that asks for them.
    noise: generator of what the objective draws. measure_kl: whether the log wants the divergence from the reference.
    """

    rollout: Rollout
    units: Tensor
    step: int
    advantages_B: Tensor
    old: Mapping[str, Tensor]
    noise: torch.Generator
    measure_kl: bool


class Objective(Protocol):
    """Makes a loss of a rollout's candidates and their advantages."""

    needs_old: bool  # whether the weights that rolled out are kept for it
    clip_range: float | None  # in the units of its ratio; None where nothing is clipped

    def units(self, advantages_B: Tensor, group_size: int) -> Tensor:
        """(N, k): rows that have something to say, alone (k = 1) or in pairs of a better and a worse one (k = 2)."""

    def steps(self, policy: PipelinePolicy, rollout: Rollout) -> int:
        """Number of steps whose losses can be taken."""

    def loss(self, policy: PipelinePolicy, task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss, and detached scalars for the log."""


@dataclass(frozen=True)
class Algorithm:
    """How rewards become an update.

    advantage: (rewards_PG, valid_PG) -> advantages_PG.
    objective: what is minimised.
    group_size: candidates a prompt, G.
    epochs: passes over a rollout.
    minibatch_size: candidates in one optimizer step.
    microbatch_size: candidates in one backward pass, whose gradients are added up; null takes the whole minibatch.
    steps_per_update: timesteps whose gradients are added up before the optimizer steps; null adds all of them up.
    max_grad_norm: clip of the gradient norm.
    old_decay: update -> share that the weights that roll out keep of their former values; only for an objective that needs
        them.
    """

    advantage: Callable[[Tensor, Tensor], Tensor]
    objective: Objective
    group_size: int
    epochs: int
    minibatch_size: int
    microbatch_size: int | None
    steps_per_update: int | None
    max_grad_norm: float
    old_decay: Callable[[int], float] | None


def candidates(advantages_B: Tensor) -> Tensor:
    """(N, 1) rows with an advantage; one of exactly 0 says nothing (and with KL only what the reference says)."""
    return advantages_B.nonzero()


def best_and_worst(advantages_B: Tensor, group_size: int) -> Tensor:
    """(N, 2) the best and the worst row of each group whose advantages differ."""
    groups = advantages_B.view(-1, group_size)
    first = torch.arange(len(groups)) * group_size
    pairs = torch.stack([first + groups.argmax(1), first + groups.argmin(1)], 1)
    return pairs[(groups.max(1).values > groups.min(1).values).nonzero().flatten()]
