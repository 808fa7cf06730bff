"""The policy-gradient objective."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ClippedLoss(NamedTuple):
    """loss: scalar to minimise; the rest are detached scalars for the log."""

    loss: Tensor
    ratio: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor


def clipped_surrogate(log_probs_B: Tensor, old_log_probs_B: Tensor, advantages_B: Tensor, clip_range: float) -> ClippedLoss:
    """PPO's objective (arXiv 1707.06347, eq. 7) for one denoising step: -mean min(rho A, clip(rho, 1-eps, 1+eps) A).

    log_probs_B, old_log_probs_B: (B,) in nats a dimension (`gaussian.log_prob`), so rho is the geometric mean of the
    ratio over dimensions and stays close to 1: a `clip_range` of 2e-3 binds where the usual 0.2 never would.
    """
    ratio = torch.exp(log_probs_B - old_log_probs_B)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = -torch.minimum(ratio * advantages_B, clipped * advantages_B).mean()
    difference = (log_probs_B - old_log_probs_B).detach()
    outside = ((ratio - 1).abs() > clip_range) & (torch.sign(ratio - 1) == torch.sign(advantages_B))
    return ClippedLoss(loss, ratio.detach().mean(), outside.float().mean(), (difference.exp() - 1 - difference).mean())
