"""Stochastic samplers of a flow-matching model: one denoising step as a Gaussian p(x_{t-1} | x_t) = N(mean, std^2 I).

The two SDEs keep the marginals of the deterministic flow in the limit of small steps; `cps` keeps the noise level of each
step, however long, but at a fixed eta not the marginals. Each takes x_t (B, ...), the model's velocity v = noise - x_0
(B, ...), the noise levels sigma of x_t and sigma_next of x_{t-1} in [0, 1] (scalars) and eta, the strength of the noise, and
returns the mean (B, ...) and the standard deviation. With eta = 0 each is the Euler step of the ODE.
"""

from __future__ import annotations

import math
from typing import Protocol

from torch import Tensor


class Dynamics(Protocol):
    """One of the functions below."""

    def __call__(
        self, sample: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float
    ) -> tuple[Tensor, float]: ...


def flow_sde(sample: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, float]:
    """Flow-GRPO (arXiv 2505.05470, eq. 9): a reverse SDE with diffusion s = eta * sqrt(sigma / (1 - sigma)).

    Where s diverges, at a sigma of 1 or as near to it as a tenth of the step, 1 - sigma is replaced by 1 - sigma_next.
    """
    diverges = 1 - float(sigma) < 0.1 * float(sigma - sigma_next)
    s = eta * math.sqrt(float(sigma) / (1.0 - float(sigma_next if diverges else sigma)))
    return _reverse_sde(sample, velocity, sigma, sigma_next, s)


def dance_sde(sample: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, float]:
    """DanceGRPO (arXiv 2505.07818): the same reverse SDE with a constant diffusion s = eta."""
    return _reverse_sde(sample, velocity, sigma, sigma_next, eta)


def _reverse_sde(sample: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, s: float) -> tuple[Tensor, float]:
    """With dt = sigma_next - sigma < 0 and the score -(x + (1 - sigma) v) / sigma:
    mean = x + [v + s^2 / (2 sigma) * (x + (1 - sigma) v)] dt,    std = s * sqrt(-dt)."""
    dt = float(sigma_next - sigma)
    mean = sample + (velocity + s**2 / (2 * float(sigma)) * (sample + (1 - float(sigma)) * velocity)) * dt
    return mean, s * math.sqrt(-dt)


def cps(sample: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float) -> tuple[Tensor, float]:
    """Coefficients-preserving sampling (arXiv 2509.05952): part of the predicted noise is exchanged for fresh noise.

    With the predictions x_0 = x - sigma v and noise = x + (1 - sigma) v:
        mean = (1 - sigma_next) x_0 + sigma_next cos(eta pi / 2) noise,    std = sigma_next sin(eta pi / 2),
    so that the squared weights of old and fresh noise add up to sigma_next^2: x_{t-1} has the scheduled noise level at any
    step size, which an SDE step of finite size does not. eta in [0, 1]; at 1 all noise is fresh.
    """
    x_0 = sample - float(sigma) * velocity
    noise = sample + (1 - float(sigma)) * velocity
    angle = eta * math.pi / 2
    return (1 - float(sigma_next)) * x_0 + float(sigma_next) * math.cos(angle) * noise, float(sigma_next) * math.sin(angle)
