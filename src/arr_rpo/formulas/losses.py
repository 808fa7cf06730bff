"""The clipped policy-gradient objective of one denoising step, and the ratios it may work on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from arr_rpo.formulas.gaussian import gaussian_kl


class Step(NamedTuple):
    """A recorded step under current weights (the first three) and under others: those that recorded it, or the reference.

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
    """loss: scalar to minimise; the rest are detached scalars for the log. clip_fraction: share of the candidates that are held
    back, so that they have no gradient."""

    loss: Tensor
    ratio: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor


def log_ratio(step: Step) -> Tensor:
    """(B,) log rho = log p - log p_old, nats a dimension: rho is the geometric mean of the ratio over dimensions.

    With the reference's log-probability for the old one it is the estimate of the KL that ARR's released code adds to its loss
    (`new_log_probs - ref_log_probs`). On samples of p its mean is the KL, but its gradient is that of log p: a constant shift
    of every advantage by -beta, and no pull to the reference. `step_kl` has one.
    """
    return step.log_probs_B - step.old_log_probs_B


def step_kl(step: Step) -> Tensor:
    """(B,) KL between the step's two Gaussians, exact, nats a dimension (`gaussian.gaussian_kl`)."""
    return gaussian_kl(step.mean, step.old_mean, step.std)


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


def divergence_masked_surrogate(log_ratio_B: Tensor, advantages_B: Tensor, kl_B: Tensor, threshold: float) -> ClippedLoss:
    """Flow-DPPO (arXiv 2606.11025, eq. 18; the KL is its eq. 14): -mean M rho A for one denoising step. M is 0 where the step's
    KL to the policy that drew it is at least `threshold` and the candidate still moves away (rho > 1 with A > 0, rho < 1 with
    A < 0), else 1: what leads back is never held back, nor is anything as long as the policy is close.

    log_ratio_B, kl_B: (B,) of `log_ratio` and `step_kl`; threshold: nats a dimension, as kl_B.
    """
    ratio = torch.exp(log_ratio_B)
    away = torch.sign(ratio - 1) * torch.sign(advantages_B) > 0
    held = (kl_B >= threshold) & away
    loss = -(ratio * advantages_B).where(~held, 0.0).mean()
    difference = log_ratio_B.detach()
    return ClippedLoss(loss, ratio.detach().mean(), held.float().mean(), (difference.exp() - 1 - difference).mean())
