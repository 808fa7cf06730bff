"""The denoising step as a Gaussian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import Normal, kl_divergence

from arr_rpo.formulas.gaussian import gaussian_kl, log_prob

SHAPE = (3, 2, 4, 4)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


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


def test_the_published_kl_does_not() -> None:
    """log p - log p_ref on the policy's own samples: its gradient is the same for any reference, and zero on average."""
    mean, std = torch.full((20_000, 1), 0.3, requires_grad=True), 0.5
    samples = mean.detach() + std * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    gradients = []
    for reference in (-1.0, 5.0):
        published = (log_prob(samples, mean, std) - log_prob(samples, torch.full_like(mean, reference), std)).mean()
        (gradient,) = torch.autograd.grad(published, mean)
        gradients.append(gradient)
    assert torch.equal(*gradients)
    total = float(gradients[0].sum())
    assert abs(total) < 4 / (std * 20_000**0.5)  # four standard errors of the mean score, whose expectation is 0
    exact = gaussian_kl(mean, torch.full_like(mean, 5.0), std).mean()
    assert float(torch.autograd.grad(exact, mean)[0].sum()) == pytest.approx((0.3 - 5.0) / std**2)
