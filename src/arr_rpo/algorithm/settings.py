"""The knobs of an update; every value stands in `configs/algorithm`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Algorithm:
    """How rewards become an update.

    advantage: (rewards_PG, valid_PG) -> advantages_PG.
    group_size: candidates a prompt, G.
    clip_range: eps, in the units of the log-probability (nats a dimension).
    kl_coefficient: beta of the exact Gaussian KL to the reference model.
    minibatch_size: candidates in one backward pass.
    steps_per_update: timesteps whose gradients are added up before the optimizer steps; null adds all of them up.
    max_grad_norm: clip of the gradient norm.
    """

    advantage: Callable[[Tensor, Tensor], Tensor]
    group_size: int
    clip_range: float
    kl_coefficient: float
    minibatch_size: int
    steps_per_update: int | None
    max_grad_norm: float
