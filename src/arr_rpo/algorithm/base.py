"""The knobs of an update, and what every objective can do. Every value stands in `configs/algorithm`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from arr_rpo.noise import Name, Noise
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Advantages, Rollout, UserError


class Microbatch(NamedTuple):
    """What one backward pass is about.

    units: (n, k) rows of the rollout, k of them belonging together. step: number of one of the objective's steps.
    epoch: which pass over the rollout this is. advantages: of the whole rollout. old: the weights that rolled out, for an
    objective that asks for them. noise: of the update, for an objective that draws. measure_kl: whether the log wants the
    divergence from the reference. weight: of its loss in the mean; 0 of a pass that only keeps step with other processes.
    """

    rollout: Rollout
    units: Tensor
    step: int
    epoch: int
    advantages: Advantages
    old: Mapping[str, Tensor]
    noise: Noise
    measure_kl: bool
    weight: float

    def names(self, rows: Tensor) -> list[tuple[Name, Name]]:
        """(prompt, candidate) of each row: by these, and not by its place in a microbatch, its noise is drawn."""
        size, first = self.rollout.group_size, self.rollout.first
        return [(first + int(row) // size, int(row) % size) for row in rows]


class Objective(Protocol):
    """Makes a loss of a rollout's candidates and their advantages."""

    needs_old: bool  # whether the weights that rolled out are kept for it

    def parity(self, policy: PipelinePolicy, rollout: Rollout) -> float | None:
        """How far the rollout's steps, computed again, are from the recorded ones (`policy.parity.check_parity`, which see for
        errors), in nats a dimension; None where none is to be computed again."""

    def units(self, advantages: Advantages, group_size: int) -> Tensor:
        """(N, k): rows that the loss is a mean over, alone (k = 1) or in pairs of a better and a worse one (k = 2). None that
        is not valid."""

    def working(self, advantages: Advantages, units: Tensor) -> Tensor:
        """(n, k): those of the units whose gradient is not zero whatever the weights. The others count in the mean, and need
        no pass through the model."""

    def steps(self, policy: PipelinePolicy, rollout: Rollout) -> int:
        """Number of steps whose losses can be taken."""

    def loss(self, policy: PipelinePolicy, batch: Microbatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss, and detached scalars for the log."""


@dataclass(frozen=True)
class Algorithm:
    """How rewards become an update.

    advantage: (rewards_PG, valid_PG) -> advantages_PG.
    objective: what is minimised.
    group_size: candidates a prompt, G.
    epochs: passes over a rollout.
    minibatch_size: candidates in one optimizer step; null takes all of a rollout.
    microbatch_size: candidates in one backward pass, whose gradients are added up; null takes the whole minibatch.
    steps_per_update: timesteps whose gradients are added up before the optimizer steps; null adds all of them up.
    max_grad_norm: clip of the gradient norm.
    kl_every_n_updates: how often the divergence from the reference is measured where the loss has none: of one step's first
        microbatch, before the first optimizer step. None never measures it.
    old_decay: update -> share that the weights that roll out keep of their former values; only for an objective that needs
        them.
    """

    advantage: Callable[[Tensor, Tensor], Tensor]
    objective: Objective
    group_size: int
    epochs: int
    minibatch_size: int | None
    microbatch_size: int | None
    steps_per_update: int | None
    max_grad_norm: float
    kl_every_n_updates: int | None
    old_decay: Callable[[int], float] | None

    def __post_init__(self) -> None:
        """Raises UserError where a setting is out of its range, or would do nothing."""
        for name in ("group_size", "epochs", "minibatch_size", "microbatch_size", "steps_per_update", "kl_every_n_updates"):
            value, may_be_null = getattr(self, name), name not in ("group_size", "epochs")
            if value is None and may_be_null:
                continue
            if not isinstance(value, int) or value < 1:
                raise UserError(f"algorithm.{name}={value}: it must be 1 or more{', or null' if may_be_null else ''}")
        if not self.max_grad_norm > 0:
            raise UserError(f"algorithm.max_grad_norm={self.max_grad_norm}: it must be above 0 (inf clips nothing)")
        if self.old_decay is not None and not self.objective.needs_old:
            raise UserError(
                "algorithm.old_decay does nothing with this objective, which compares with no old weights: set it to null"
            )


def candidates(advantages: Advantages) -> Tensor:
    """(N, 1) the valid rows, also those whose advantage is 0: an average candidate is a grade, not a missing one."""
    return advantages.valid_B.nonzero()


def best_and_worst(advantages: Advantages, group_size: int) -> Tensor:
    """(N, 2) the best and the worst of the valid rows of each group, where their advantages differ."""
    values, valid = advantages.values_B.view(-1, group_size), advantages.valid_B.view(-1, group_size)
    best, worst = values.where(valid, -torch.inf).max(1), values.where(valid, torch.inf).min(1)
    first = torch.arange(len(values), device=values.device) * group_size
    pairs = torch.stack([first + best.indices, first + worst.indices], 1)
    return pairs[best.values > worst.values]  # in a group without a valid row -inf is not above inf
