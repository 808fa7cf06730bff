"""The clipped objective, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from arr_rpo.algorithm.losses import ClippedLoss, clipped_surrogate


def surrogate(ratios: list[float], advantages: list[float], clip_range: float = 0.05) -> tuple[ClippedLoss, torch.Tensor]:
    """The loss, and its gradient by the log-probabilities, at given ratios."""
    old = torch.full((len(ratios),), -1.25, dtype=torch.float64)
    new = (old + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    result = clipped_surrogate(new, old, torch.tensor(advantages, dtype=torch.float64), clip_range)
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
