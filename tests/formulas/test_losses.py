"""The clipped objective, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from arr_rpo.formulas.gaussian import log_prob
from arr_rpo.formulas.losses import (
    ClippedLoss,
    Step,
    clipped_surrogate,
    divergence_masked_surrogate,
    inverse_dt,
    log_ratio,
    normalised_log_ratio,
    step_kl,
)


def surrogate(ratios: list[float], advantages: list[float], clip_range: float = 0.05) -> tuple[ClippedLoss, torch.Tensor]:
    """The loss, and its gradient by the log-probabilities, at given ratios."""
    old = torch.full((len(ratios),), -1.25, dtype=torch.float64)
    new = (old + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    result = clipped_surrogate(new - old, torch.tensor(advantages, dtype=torch.float64), clip_range)
    (gradient,) = torch.autograd.grad(result.loss, new)
    return result, gradient


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient", "clipped"),
    [
        (1.1, 2.0, -2.1, 0.0, 1.0),  # better and already likelier: 1.05 * 2, clipped
        (0.9, 2.0, -1.8, -1.8, 0.0),  # better but less likely: 0.9 * 2
        (1.1, -1.0, 1.1, 1.1, 0.0),  # worse but likelier
        (0.9, -1.0, 0.95, 0.0, 1.0),  # worse and already less likely, clipped
        (1.02, 2.0, -2.04, -2.04, 0.0),  # within the range
        (0.98, -1.0, 0.98, 0.98, 0.0),
        (1.0, 2.0, -2.0, -2.0, 0.0),  # on-policy: the plain policy gradient
        (1.1, 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_one_sample(ratio: float, advantage: float, loss: float, gradient: float, clipped: float) -> None:
    result, slope = surrogate([ratio], [advantage])
    assert result.loss.item() == pytest.approx(loss)
    assert slope.item() == (0.0 if gradient == 0.0 else pytest.approx(gradient))
    assert result.clip_fraction.item() == clipped


def test_a_batch_is_averaged() -> None:
    ratios = [1.1, 0.9, 1.1, 0.9]
    result, gradient = surrogate(ratios, [2.0, 2.0, -1.0, -1.0])
    assert result.loss.item() == pytest.approx(-(2.1 + 1.8 - 1.1 - 0.95) / 4)
    assert gradient.tolist() == [0.0, pytest.approx(-0.45), pytest.approx(0.275), 0.0]
    assert result.clip_fraction.item() == 0.5
    assert result.ratio.item() == pytest.approx(1.0)
    assert result.approx_kl.item() == pytest.approx(sum(r - 1 - math.log(r) for r in ratios) / 4)


def test_a_wide_range_never_binds() -> None:
    result, gradient = surrogate([1.1, 0.9], [2.0, -1.0], clip_range=0.2)
    assert result.loss.item() == pytest.approx(-(2.2 - 0.9) / 2)
    assert gradient.tolist() == pytest.approx([-1.1, 0.45])
    assert result.clip_fraction.item() == 0.0


def test_only_the_loss_carries_a_gradient() -> None:
    result, _ = surrogate([1.01], [1.0])
    assert result.loss.requires_grad
    assert not any(value.requires_grad for value in result[1:])


@pytest.mark.parametrize(
    ("ratio", "advantage", "kl", "loss", "gradient", "held"),
    [
        (1.5, 2.0, 0.01, -3.0, -3.0, 0.0),  # close to the policy that drew it: whatever its own ratio is
        (1.5, 2.0, 0.05, 0.0, 0.0, 1.0),  # far (the threshold itself counts), and further away
        (0.5, 2.0, 0.09, -1.0, -1.0, 0.0),  # far, and back
        (0.5, -1.0, 0.09, 0.0, 0.0, 1.0),
        (1.5, -1.0, 0.09, 1.5, 1.5, 0.0),
        (1.0, 2.0, 0.09, -2.0, -2.0, 0.0),  # a ratio of 1 says of no direction that it is away
        (1.5, 0.0, 0.09, 0.0, 0.0, 0.0),
    ],
)
def test_one_sample_under_a_divergence_mask(
    ratio: float, advantage: float, kl: float, loss: float, gradient: float, held: float
) -> None:
    """Flow-DPPO, by hand: -M rho A, whose slope by log rho is itself."""
    log_rho = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    advantages, kl_B = (torch.tensor([value], dtype=torch.float64) for value in (advantage, kl))
    result = divergence_masked_surrogate(log_rho, advantages, kl_B, threshold=0.05)
    (slope,) = torch.autograd.grad(result.loss, log_rho)
    assert result.loss.item() == pytest.approx(loss)
    assert slope.item() == pytest.approx(gradient)
    assert result.clip_fraction.item() == held


def test_what_is_held_back_counts_in_the_mean() -> None:
    log_rho = torch.tensor([0.5, 0.0], requires_grad=True)
    result = divergence_masked_surrogate(log_rho, torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0]), threshold=0.5)
    (slope,) = torch.autograd.grad(result.loss, log_rho)
    assert result.loss.item() == -1.5
    assert slope.tolist() == [0.0, -1.5]
    assert result.clip_fraction.item() == 0.5
    assert not any(value.requires_grad for value in result[1:])


def test_the_exact_kl_pulls_and_the_published_estimate_does_not() -> None:
    """One dimension, std 2, mean 0.5, the other's 0, x = 1: KL 0.5^2 / 8; log p - log p_other = (1 - 0.25) / 8. By the mean:
    0.5 / 4, which leads to the other, and (1 - 0.5) / 4, which leads away from x, wherever the other is."""
    mean = torch.tensor([[0.5]], requires_grad=True)
    for other, kl, estimate in ((0.0, 0.03125, 0.09375), (2.0, 0.28125, 0.09375)):
        x, reference = torch.tensor([[1.0]]), torch.tensor([[other]])
        step = Step(log_prob(x, mean, 2.0), mean, 2.0, log_prob(x, reference, 2.0), reference, dt=0.2)
        assert step_kl(step).item() == pytest.approx(kl)
        assert log_ratio(step).item() == pytest.approx(estimate)
        assert torch.autograd.grad(step_kl(step).sum(), mean, retain_graph=True)[0].item() == pytest.approx((0.5 - other) / 4)
        assert torch.autograd.grad(log_ratio(step).sum(), mean)[0].item() == pytest.approx(0.125)


def recorded(std: float, shift: float, dimensions: int = 4000) -> Step:
    """A step whose mean has moved by `shift` in every dimension since 64 candidates were drawn."""
    noise = torch.randn(64, dimensions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    old_mean = torch.zeros(64, dimensions, dtype=torch.float64)
    sample, mean = old_mean + std * noise, old_mean + shift
    return Step(log_prob(sample, mean, std), mean, std, log_prob(sample, old_mean, std), old_mean, dt=0.25)


def test_normalised_ratio_by_hand() -> None:
    # one dimension: x = 1, mean 0.5, old mean 0, std 2: log rho = (1 - 0.25) / 8; + 0.25 / 8; times 2 = 0.25 = 0.5 * (1 / 2)
    x, mean, old = (torch.tensor([[value]]) for value in (1.0, 0.5, 0.0))
    step = Step(log_prob(x, mean, 2.0), mean, 2.0, log_prob(x, old, 2.0), old, dt=0.2)
    assert log_ratio(step).item() == pytest.approx(0.09375)
    assert normalised_log_ratio(step).item() == pytest.approx(0.25)
    assert inverse_dt(step) == pytest.approx(5.0)


@pytest.mark.parametrize("std", [0.05, 0.8])
def test_normalisation_takes_out_the_bias_and_the_scale(std: float) -> None:
    step = recorded(std, shift=0.01)
    plain, normalised = log_ratio(step), normalised_log_ratio(step)
    bias = 0.01**2 / (2 * std**2)
    assert plain.mean().item() == pytest.approx(-bias, abs=4 * 0.01 / std / (64 * 4000) ** 0.5)
    assert abs(normalised.mean().item()) < 4 * 0.01 / (64 * 4000) ** 0.5
    assert normalised.std().item() == pytest.approx(0.01 / 4000**0.5, rel=0.3)  # whatever std is


def test_the_gradient_of_the_normalised_ratio_is_the_noise() -> None:
    step = recorded(0.5, shift=0.0, dimensions=8)
    mean = step.mean.clone().requires_grad_()
    noise = torch.randn(64, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = step._replace(mean=mean, log_probs_B=log_prob(0.5 * noise, mean, 0.5))
    (gradient,) = torch.autograd.grad(normalised_log_ratio(moved).sum(), mean)
    torch.testing.assert_close(gradient.float(), (noise / 8).float())
