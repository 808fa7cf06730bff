"""Objectives on the forward process, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from arr_rpo.formulas.forward_losses import diffusion_nft, flow_dpo, noised, optimality, squared_error


def test_noising() -> None:
    x_0, noise = torch.tensor([[2.0, -4.0]]), torch.tensor([[1.0, 1.0]])
    assert noised(x_0, noise, 0.25).tolist() == [[1.75, -2.75]]
    assert squared_error(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]])).tolist() == [5.0]


def dpo(winner: float, loser: float, beta: float = 2.0) -> tuple[float, float, float]:
    """Loss and its two gradients; the reference's errors are 1 and 2."""
    errors = [torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in (winner, loser)]
    ones = torch.ones(1, dtype=torch.float64)
    loss = flow_dpo(errors[0], ones, errors[1], 2 * ones, beta).loss
    gradients = torch.autograd.grad(loss, errors)
    return float(loss), float(gradients[0]), float(gradients[1])


def test_flow_dpo_by_hand() -> None:
    # at the reference: log 2, and sigmoid(0) = 1/2 times beta/2 = 1 down for the winner's error, up for the loser's
    assert dpo(1.0, 2.0) == pytest.approx((math.log(2), 0.5, -0.5))
    # winner's error fell by 1/2, loser's rose by 1/2: the margin is -1, -log sigmoid(1)
    assert dpo(0.5, 2.5) == pytest.approx((math.log(1 + math.exp(-1)), 1 / (1 + math.e), -1 / (1 + math.e)))


def test_flow_dpo_counts_pairs_in_the_right_order() -> None:
    one = torch.ones(2)
    result = flow_dpo(torch.tensor([0.5, 1.5]), one, one, one, beta=1.0)
    assert result.log["policy/implicit_accuracy"].item() == 0.5
    assert result.log["policy/margin"].item() == pytest.approx(0.0)


def test_optimality() -> None:
    assert optimality(torch.tensor([-4.0, -1.0, 0.0, 0.5, 2.0]), 2.0).tolist() == [0.0, 0.25, 0.5, 0.625, 1.0]


def nft(velocity: float, optimal: float, beta: float = 0.5) -> tuple[float, float]:
    """One dimension, sigma 1/2, x_0 = 1, noise 0: x_t = 1/2, true velocity -1; the old velocity is -0.6: x_0(old) = 0.8."""
    v = torch.tensor([[velocity]], dtype=torch.float64, requires_grad=True)
    x_t, x_0, old = (torch.tensor([[value]], dtype=torch.float64) for value in (0.5, 1.0, -0.6))
    loss = diffusion_nft(x_t, 0.5, x_0, v, old, torch.tensor([optimal], dtype=torch.float64), beta).loss
    (gradient,) = torch.autograd.grad(loss, v)
    return float(loss), float(gradient)


def test_diffusion_nft_by_hand() -> None:
    # at v = old both policies are the old one: error^2 / |error| = 0.2, over beta = 0.4 whatever the candidate is worth
    # gradient of a good one: 2 * error / |error| * d x_0 / dv / beta = 2 * (-1) * (-sigma beta) / beta = 1, of a bad one -1
    assert nft(-0.6, 1.0) == pytest.approx((0.4, 1.0))
    assert nft(-0.6, 0.0) == pytest.approx((0.4, -1.0))
    assert nft(-0.6, 0.5) == pytest.approx((0.4, 0.0), abs=1e-7)
    # v = -1 (true): v+ = -0.8, x_0 = 0.9, error 0.1; v- = -0.4, x_0 = 0.7, error 0.3
    assert nft(-1.0, 1.0)[0] == pytest.approx(0.2)
    assert nft(-1.0, 0.0)[0] == pytest.approx(0.6)


def test_a_good_candidate_pulls_and_a_bad_one_pushes() -> None:
    assert nft(-0.6, 1.0)[1] > 0  # descent lowers v from -0.6 towards the true -1
    assert nft(-0.6, 0.0)[1] < 0


def test_the_old_velocity_gets_no_gradient() -> None:
    old = torch.tensor([[-0.6]], requires_grad=True)
    one = torch.ones(1, 1)
    v = torch.tensor([[0.1]], requires_grad=True)
    diffusion_nft(one / 2, 0.5, one, v, old, torch.ones(1), 0.5).loss.backward()
    assert old.grad is None
    assert v.grad is not None
