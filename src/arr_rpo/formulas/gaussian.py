"""Log-probability and divergence of a denoising step p(x_{t-1} | x_t) = N(mean, std^2 I) (`dynamics`)."""

from __future__ import annotations

import math

from torch import Tensor


def log_prob(x: Tensor, mean: Tensor, std: float) -> Tensor:
    """(B,) log N(x; mean, std^2 I) averaged over the latent's dimensions: nats a dimension. Computed in float32."""
    error = (x.detach().float() - mean.float()) / std
    per_dimension = -0.5 * error**2 - math.log(std) - 0.5 * math.log(2 * math.pi)
    return per_dimension.flatten(1).mean(1)


def gaussian_kl(mean: Tensor, reference_mean: Tensor, std: float) -> Tensor:
    """(B,) KL(N(mean, std^2) || N(reference_mean, std^2)) = |mean - reference_mean|^2 / (2 std^2), averaged over dimensions.

    `std` already holds sqrt(dt), so this is the exact divergence of the step, in nats a dimension. Its gradient pulls the
    mean to the reference, which the difference of two log-probabilities on the policy's own sample does not.
    """
    return (((mean.float() - reference_mean.float()) / std) ** 2).flatten(1).mean(1) / 2
