"""The clipped policy-gradient objective of one denoising step, and the ratios it may work on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Step(NamedTuple):
    """A recorded step under current weights (the first three) and as it was recorded.

    log_probs_B, old_log_probs_B: (B,) nats a dimension (`gaussian.log_prob`); mean, old_mean: (B, ...); std: of both.
    dt: how far the noise level falls in this step, positive.
    """

    log_probs_B: Tensor
    mean: Tensor
    std: float
    old_log_probs_B: Tensor
    old_mean: Tensor
    dt: float


class ClippedLoss(NamedTuple):
    """loss: scalar to minimise; the rest are detached scalars for the log."""

    loss: Tensor
    ratio: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor


def log_ratio(step: Step) -> Tensor:
    """(B,) log rho = log p - log p_old, nats a dimension: rho is the geometric mean of the ratio over dimensions."""
    return step.log_probs_B - step.old_log_probs_B


def normalised_log_ratio(step: Step) -> Tensor:
    """(B,) GRPO-Guard's RatioNorm (arXiv 2510.22319, eq. 8): std * (log rho + |mean - mean_old|^2 / (2 std^2)), averaged
    over dimensions.

    With x = mean_old + std * noise this is the mean of (mean - mean_old) * noise: it has no negative bias and, unlike log
    rho, a scale that does not depend on the step's std, so that one clip range means the same at every step. In units of
    the latent.
    """
    bias = ((step.mean.float() - step.old_mean.float()) ** 2).flatten(1).mean(1) / (2 * step.std**2)
    return step.std * (log_ratio(step) + bias)


def plain_weight(step: Step) -> float:
    """1: every step's loss counts the same."""
    return 1.0


def inverse_dt(step: Step) -> float:
    """GRPO-Guard's gradient reweighting: the loss over dt, as a mean's distance from another grows with the step's length."""
    return 1.0 / step.dt


def clipped_surrogate(log_ratio_B: Tensor, advantages_B: Tensor, clip_range: float) -> ClippedLoss:
    """PPO's objective (arXiv 1707.06347, eq. 7) for one denoising step: -mean min(rho A, clip(rho, 1-eps, 1+eps) A).

    log_ratio_B: (B,) in the units of one of the functions above. With log-probabilities in nats a dimension rho stays close
    to 1: a `clip_range` of 2e-3 binds where the usual 0.2 never would.
    """
    ratio = torch.exp(log_ratio_B)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = -torch.minimum(ratio * advantages_B, clipped * advantages_B).mean()
    difference = log_ratio_B.detach()
    outside = ((ratio - 1).abs() > clip_range) & (torch.sign(ratio - 1) == torch.sign(advantages_B))
    return ClippedLoss(loss, ratio.detach().mean(), outside.float().mean(), (difference.exp() - 1 - difference).mean())
