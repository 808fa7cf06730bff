"""The denoising step as a Gaussian policy p(x_{t-1} | x_t) = N(mean, std^2 I)."""

from __future__ import annotations

import math

from torch import Tensor


def flow_sde_step(sample: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, float]:
    """Mean and standard deviation of one stochastic step of a flow-matching model.

    Flow-GRPO (arXiv 2505.05470, eq. 9): with dt = sigma_next - sigma < 0 and s = eta * sqrt(sigma / (1 - sigma)),
        mean = x + [v + s^2 / (2 sigma) * (x + (1 - sigma) v)] dt,    std = s * sqrt(-dt).
    At sigma = 1, where s diverges, 1 - sigma is replaced by 1 - sigma_next.

    Args:
        sample: x_t, (B, ...).
        velocity: the model's prediction v = noise - x_0, (B, ...).
        sigma, sigma_next: noise levels of x_t and x_{t-1}, scalars in [0, 1].
        eta: noise level; 0 is the deterministic Euler step.
    """
    dt = float(sigma_next - sigma)
    s = eta * math.sqrt(float(sigma) / (1.0 - float(sigma if sigma < 1 else sigma_next)))
    mean = sample + (velocity + s**2 / (2 * float(sigma)) * (sample + (1 - float(sigma)) * velocity)) * dt
    return mean, s * math.sqrt(-dt)


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
