"""Stochastic denoising steps: by hand, and on flows whose solution is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from arr_rpo.formulas.dynamics import Dynamics, cps, dance_sde, flow_sde

SHAPE = (3, 2, 4, 4)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def step(x: float, v: float, sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    numbers = (torch.tensor(n, dtype=torch.float64) for n in (x, v, sigma, sigma_next))
    mean, std = flow_sde(*numbers, eta)
    return float(mean), std


def test_step_by_hand() -> None:
    # s^2 = 0.25 * 0.8 / 0.2 = 1; drift = -1 + 1 / 1.6 * (2 - 0.2) = 0.125; mean = 2 - 0.2 * 0.125; std = sqrt(0.2)
    mean, std = step(2.0, -1.0, 0.8, 0.6, 0.5)
    assert mean == pytest.approx(1.975)
    assert std == pytest.approx(0.4472135955)


def test_step_at_sigma_one_by_hand() -> None:
    # s^2 = 0.36 / 0.25 = 1.44, as 1 - sigma is replaced by 0.25; drift = 2 + 0.72 * 1; mean = 1 - 0.25 * 2.72; std = 1.2 / 2
    mean, std = step(1.0, 2.0, 1.0, 0.75, 0.6)
    assert mean == pytest.approx(0.32)
    assert std == pytest.approx(0.6)


@pytest.mark.parametrize(("sigma", "sigma_next"), [(0.98, 0.9), (0.9, 0.7), (0.5, 0.45), (0.1, 0.0)])
def test_step_against_numpy(sigma: float, sigma_next: float) -> None:
    """The reverse-time SDE dx = (v - s^2 / 2 * score) dt + s dw, where the score is -E[noise] / sigma."""
    x, v, eta = noise(0), noise(1), 0.7
    mean, std = flow_sde(x, v, torch.tensor(sigma), torch.tensor(sigma_next), eta)
    s2, dt = eta**2 * sigma / (1 - sigma), sigma_next - sigma
    score = -(x.numpy() + (1 - sigma) * v.numpy()) / sigma
    np.testing.assert_allclose(mean.numpy(), x.numpy() + (v.numpy() - s2 / 2 * score) * dt, rtol=1e-4, atol=1e-5)
    assert std == pytest.approx(np.sqrt(s2 * -dt), rel=1e-5)


@pytest.mark.parametrize(("sigma", "sigma_next"), [(1.0, 0.9), (0.5, 0.25), (0.125, 0.0)])
def test_eta_zero_is_euler(sigma: float, sigma_next: float) -> None:
    x, v = noise(0), noise(1)
    mean, std = flow_sde(x, v, torch.tensor(sigma), torch.tensor(sigma_next), 0.0)
    torch.testing.assert_close(mean, x - (sigma - sigma_next) * v)
    assert std == 0.0


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.7])
def test_noise_leaves_the_marginals_alone(eta: float) -> None:
    """Data N(0, 1/4), whose velocity is linear in x: the variance after many steps, whatever eta, is 1/4."""
    data, variance = 0.25, 1.0
    sigmas = np.linspace(1, 0, 2_001)
    for sigma, sigma_next in itertools.pairwise(sigmas):
        slope = (sigma - (1 - sigma) * data) / ((1 - sigma) ** 2 * data + sigma**2)
        gain, std = step(1.0, slope, sigma, sigma_next, eta)
        variance = gain**2 * variance + std**2
    assert variance == pytest.approx(data, rel=0.01)


def test_dance_by_hand() -> None:
    # s = 0.5; drift = -1 + 0.25 / 1.6 * (2 - 0.2) = -0.71875; mean = 2 + 0.2 * 0.71875; std = 0.5 * sqrt(0.2)
    numbers = (torch.tensor(n, dtype=torch.float64) for n in (2.0, -1.0, 0.8, 0.6))
    mean, std = dance_sde(*numbers, 0.5)
    assert float(mean) == pytest.approx(2.14375)
    assert std == pytest.approx(0.2236067977)


def test_cps_by_hand() -> None:
    # x_0 = 2 + 0.8 = 2.8, noise = 2 - 0.2 = 1.8, angle = 60 degrees: mean = 0.4 * 2.8 + 0.6 * 0.5 * 1.8, std = 0.6 * 0.8660
    numbers = (torch.tensor(n, dtype=torch.float64) for n in (2.0, -1.0, 0.8, 0.6))
    mean, std = cps(*numbers, 2 / 3)
    assert float(mean) == pytest.approx(1.66)
    assert std == pytest.approx(0.5196152423)


@pytest.mark.parametrize("dynamics", [dance_sde, cps])
@pytest.mark.parametrize(("sigma", "sigma_next"), [(1.0, 0.9), (0.5, 0.25), (0.125, 0.0)])
def test_without_noise_all_are_euler(dynamics: Dynamics, sigma: float, sigma_next: float) -> None:
    x, v = noise(0), noise(1)
    mean, std = dynamics(x, v, torch.tensor(sigma), torch.tensor(sigma_next), 0.0)
    torch.testing.assert_close(mean, x - (sigma - sigma_next) * v)
    assert std == 0.0


MEAN, VARIANCE = 1.5, 0.25  # of the data; E[noise | x] and E[x_0 | x] are linear in x


def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[noise - x_0 | x] for data N(MEAN, VARIANCE)."""
    centred = (x - (1 - sigma) * MEAN) / ((1 - sigma) ** 2 * VARIANCE + sigma**2)
    return sigma * centred - (MEAN + (1 - sigma) * VARIANCE * centred)


def simulate(dynamics: Dynamics, eta: float, steps: int, samples: int) -> list[torch.Tensor]:
    """Samples at every noise level from 1 to 0; the last step is the ODE's, as in a rollout."""
    generator = torch.Generator().manual_seed(0)
    path = [torch.randn(samples, generator=generator, dtype=torch.float64)]
    for number, (sigma, sigma_next) in enumerate(itertools.pairwise(np.linspace(1, 0, steps + 1))):
        last = number == steps - 1
        mean, std = dynamics(
            path[-1], velocity(path[-1], sigma), torch.tensor(sigma), torch.tensor(sigma_next), 0.0 if last else eta
        )
        path.append(mean + std * torch.randn(samples, generator=generator, dtype=torch.float64))
    return path


def assert_moments(samples: torch.Tensor, mean: float, variance: float, slack: float) -> None:
    """Within four standard errors, and `slack` of the standard deviation for the finite step."""
    n, std = len(samples), math.sqrt(variance)
    assert abs(float(samples.mean()) - mean) < 4 * std / math.sqrt(n) + slack * std
    assert abs(float(samples.var()) - variance) < 4 * variance * math.sqrt(2 / n) + 2 * slack * variance


@pytest.mark.parametrize(("dynamics", "eta"), [(flow_sde, 0.0), (flow_sde, 0.7), (dance_sde, 0.3), (dance_sde, 1.0)])
def test_an_sde_keeps_the_marginals(dynamics: Dynamics, eta: float) -> None:
    """The law at every noise level is N((1 - sigma) MEAN, (1 - sigma)^2 VARIANCE + sigma^2), with noise as without."""
    path = simulate(dynamics, eta, steps=400, samples=20_000)
    for number in (100, 200, 300, 400):
        sigma = 1 - number / 400
        assert_moments(path[number], (1 - sigma) * MEAN, (1 - sigma) ** 2 * VARIANCE + sigma**2, slack=0.01)


@pytest.mark.parametrize("eta", [0.3, 0.7, 1.0])
def test_cps_has_the_moments_of_its_recursion(eta: float) -> None:
    """Of a linear flow, in closed form: x_0 and the noise are predicted, weighted, and fresh noise is added. Its law is not the
    data's: predictions vary less than what they predict."""
    steps = 8
    path = simulate(cps, eta, steps, samples=100_000)
    mean, variance = 0.0, 1.0
    for number in range(steps):
        sigma, following = 1 - number / steps, 1 - (number + 1) / steps
        keep = math.cos(eta * math.pi / 2) if number < steps - 1 else 1.0
        total = (1 - sigma) ** 2 * VARIANCE + sigma**2
        slope = ((1 - following) * (1 - sigma) * VARIANCE + following * keep * sigma) / total
        mean = (1 - following) * MEAN + slope * (mean - (1 - sigma) * MEAN)
        variance = slope**2 * variance + following**2 * (1 - keep**2)
        assert_moments(path[number + 1], mean, variance, slack=0.0)
    assert variance < VARIANCE


@pytest.mark.parametrize(("dynamics", "eta", "exact"), [(cps, 0.7, True), (flow_sde, 0.7, False), (dance_sde, 0.7, False)])
def test_only_cps_keeps_the_scheduled_noise_level(dynamics: Dynamics, eta: float, exact: bool) -> None:
    """For one picture as data (at 0) the latent is nothing but noise, of standard deviation sigma, at every step."""
    std, ratios = 1.0, []
    for sigma, sigma_next in itertools.pairwise(1 - i / 8 for i in range(8)):
        one = torch.tensor(1.0, dtype=torch.float64)
        gain, fresh = dynamics(one, one / sigma, torch.tensor(sigma), torch.tensor(sigma_next), eta)
        std = math.sqrt(float(gain) ** 2 * std**2 + fresh**2)
        ratios.append(std / sigma_next)
    if exact:
        assert ratios == pytest.approx([1.0] * 7)
    else:
        assert max(ratios) > 1.1


def test_flow_sde_is_as_bounded_just_below_one_as_at_one() -> None:
    """Ideogram 4's schedule begins at 0.9999."""
    sample, velocity = torch.ones(1, 2), torch.zeros(1, 2)
    at = flow_sde(sample, velocity, torch.tensor(1.0), torch.tensor(0.98), 0.7)[1]
    below = flow_sde(sample, velocity, torch.tensor(0.9999), torch.tensor(0.98), 0.7)[1]
    assert below == pytest.approx(at, rel=0.01)
    usual = flow_sde(sample, velocity, torch.tensor(0.9), torch.tensor(0.8), 0.7)[1]
    assert usual == pytest.approx(0.7 * (0.9 / 0.1) ** 0.5 * 0.1**0.5)
