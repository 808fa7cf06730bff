"""Rewards to advantages. Each takes (P, G) rewards and a (P, G) mask of those that count; masked entries get 0."""

from __future__ import annotations

import math

from torch import Tensor


def raw(rewards_PG: Tensor, valid_PG: Tensor, *, maximum: float = math.inf) -> Tensor:  # a run of before does not know it
    """A = clip(r, -maximum, maximum): no baseline, no normalisation, as ARR's RPO publishes it (arXiv 2605.08354)."""
    return rewards_PG.clamp(-maximum, maximum).where(valid_PG, 0.0)


def centred(rewards_PG: Tensor, valid_PG: Tensor) -> Tensor:
    """A = r - mean of the group's valid rewards (Dr. GRPO, arXiv 2503.20783): they sum to zero, so that a judge without
    an opinion moves nothing on average. Exactly 0 where they are all alike, whose mean in float32 may be another number."""
    count = valid_PG.sum(1, keepdim=True).clamp(min=1)
    mean = rewards_PG.where(valid_PG, 0.0).sum(1, keepdim=True) / count
    lowest, highest = rewards_PG.where(valid_PG, math.inf).amin(1), rewards_PG.where(valid_PG, -math.inf).amax(1)
    return (rewards_PG - mean).where(valid_PG & (highest > lowest)[:, None], 0.0)


def group_normalised(rewards_PG: Tensor, valid_PG: Tensor) -> Tensor:
    """A = (r - mean) / (std + 1e-4) over the group's valid rewards (GRPO, arXiv 2402.03300, section 4.1.2)."""
    return centred(rewards_PG, valid_PG) / (group_std(rewards_PG, valid_PG).unsqueeze(1) + 1e-4)


def group_std(rewards_PG: Tensor, valid_PG: Tensor) -> Tensor:
    """(P,) standard deviation of each group's valid rewards; 0 where they are all alike, which teaches nothing."""
    return ((centred(rewards_PG, valid_PG) ** 2).sum(1) / valid_PG.sum(1).clamp(min=1)).sqrt()
