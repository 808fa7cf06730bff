"""The denoising step as a Gaussian."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

from arr_rpo.algorithm.gaussian import flow_sde_step, gaussian_kl, log_prob

SHAPE = (3, 2, 4, 4)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def step(x: float, v: float, sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    numbers = (torch.tensor(n, dtype=torch.float64) for n in (x, v, sigma, sigma_next))
    mean, std = flow_sde_step(*numbers, eta)
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
    mean, std = flow_sde_step(x, v, torch.tensor(sigma), torch.tensor(sigma_next), eta)
    s2, dt = eta**2 * sigma / (1 - sigma), sigma_next - sigma
    score = -(x.numpy() + (1 - sigma) * v.numpy()) / sigma
    np.testing.assert_allclose(mean.numpy(), x.numpy() + (v.numpy() - s2 / 2 * score) * dt, rtol=1e-4, atol=1e-5)
    assert std == pytest.approx(np.sqrt(s2 * -dt), rel=1e-5)


@pytest.mark.parametrize(("sigma", "sigma_next"), [(1.0, 0.9), (0.5, 0.25), (0.125, 0.0)])
def test_eta_zero_is_euler(sigma: float, sigma_next: float) -> None:
    x, v = noise(0), noise(1)
    mean, std = flow_sde_step(x, v, torch.tensor(sigma), torch.tensor(sigma_next), 0.0)
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


@pytest.mark.parametrize("std", [0.05, 1.0, 3.0])
def test_log_prob_against_scipy(std: float) -> None:
    x, mean = noise(0), noise(1)
    expected = norm.logpdf(x.double().numpy(), mean.double().numpy(), std).reshape(3, -1).mean(1)
    np.testing.assert_allclose(log_prob(x, mean, std).numpy(), expected, rtol=1e-4)


def test_log_prob_by_hand_in_half_precision() -> None:
    # -(2 / 2)^2 / 2 - ln 2 - ln(2 pi) / 2
    value = log_prob(torch.full((1, 4), 3.0, dtype=torch.bfloat16), torch.ones(1, 4, dtype=torch.bfloat16), 2.0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(-0.5 - 0.6931472 - 0.9189385)


def test_log_prob_has_no_gradient_through_the_sample() -> None:
    x, mean = noise(0).requires_grad_(), noise(1).requires_grad_()
    log_prob(x, mean, 0.5).sum().backward()
    assert x.grad is None
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad, (x - mean).detach() / 0.25 / 32)


@pytest.mark.parametrize("std", [0.1, 2.0])
def test_kl_against_torch(std: float) -> None:
    mean, reference = noise(0), noise(1)
    expected = kl_divergence(Normal(mean, std), Normal(reference, std)).flatten(1).mean(1)
    torch.testing.assert_close(gaussian_kl(mean, reference, std), expected)
    assert gaussian_kl(mean, mean, std).tolist() == [0.0, 0.0, 0.0]


def test_kl_pulls_towards_the_reference() -> None:
    mean, reference, std = noise(0).requires_grad_(), noise(1), 0.5
    gaussian_kl(mean, reference, std).sum().backward()
    assert mean.grad is not None
    torch.testing.assert_close(mean.grad, (mean.detach() - reference) / (std**2 * 32))
    nearer = mean.detach() - mean.grad
    assert (nearer - reference).norm() < (mean.detach() - reference).norm()
