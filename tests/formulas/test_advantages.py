"""Rewards to advantages, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from arr_rpo.formulas.advantages import centred, group_normalised, group_std, raw

Advantage = Callable[[Tensor, Tensor], Tensor]
REWARDS = torch.tensor([[1.0, 2.0, 3.0, 9.0], [1.0, 0.0, 0.0, 1.0]])
VALID = torch.tensor([[True, True, True, False], [True, True, True, True]])
UNIT = 1.5**0.5  # 1 / std of (1, 2, 3), which is sqrt(2 / 3)


@pytest.mark.parametrize(
    ("advantage", "expected"),
    [
        (raw, [[1.0, 2.0, 3.0, 0.0], [1.0, 0.0, 0.0, 1.0]]),
        (centred, [[-1.0, 0.0, 1.0, 0.0], [0.5, -0.5, -0.5, 0.5]]),
        (group_normalised, [[-UNIT, 0.0, UNIT, 0.0], [1.0, -1.0, -1.0, 1.0]]),
    ],
)
def test_by_hand(advantage: Advantage, expected: list[list[float]]) -> None:
    torch.testing.assert_close(advantage(REWARDS, VALID), torch.tensor(expected), rtol=3e-4, atol=1e-6)


def test_raw_is_clipped_where_that_is_asked() -> None:
    assert raw(REWARDS, VALID, maximum=1.5).tolist() == [[1.0, 1.5, 1.5, 0.0], [1.0, 0.0, 0.0, 1.0]]
    assert raw(-REWARDS, VALID, maximum=1.5)[0].tolist() == [-1.0, -1.5, -1.5, 0.0]


def test_group_normalised_adds_its_constant_to_the_standard_deviation() -> None:
    # mean 0, std 1e-4: 1e-4 / (1e-4 + 1e-4)
    value = group_normalised(torch.tensor([[1e-4, -1e-4]]), torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(value, torch.tensor([[0.5, -0.5]]))


@pytest.mark.parametrize("advantage", [raw, centred, group_normalised])
def test_a_group_without_a_valid_reward_gets_nothing(advantage: Advantage) -> None:
    valid = torch.tensor([[False] * 4, [True] * 4])
    value = advantage(REWARDS, valid)
    assert value[0].tolist() == [0.0] * 4
    torch.testing.assert_close(value[1:], advantage(REWARDS[1:], valid[1:]))


@pytest.mark.parametrize(("advantage", "expected"), [(raw, 0.7), (centred, 0.0), (group_normalised, 0.0)])
def test_a_group_of_one(advantage: Advantage, expected: float) -> None:
    alone = advantage(torch.tensor([[0.7]]), torch.tensor([[True]]))
    masked = advantage(torch.tensor([[0.7, 5.0]]), torch.tensor([[True, False]]))
    torch.testing.assert_close(alone, torch.tensor([[expected]]))
    torch.testing.assert_close(masked, torch.tensor([[expected, 0.0]]))


@pytest.mark.parametrize("advantage", [centred, group_normalised])
def test_equal_rewards_move_nothing(advantage: Advantage) -> None:
    assert advantage(torch.full((2, 4), 0.5), torch.ones(2, 4, dtype=torch.bool)).abs().max() == 0.0


@pytest.mark.parametrize("advantage", [raw, centred, group_normalised])
def test_what_is_masked_has_no_influence(advantage: Advantage) -> None:
    changed = REWARDS.clone()
    changed[0, 3] = -100.0
    torch.testing.assert_close(advantage(changed, VALID), advantage(REWARDS, VALID))


def test_groups_that_say_nothing_have_no_deviation() -> None:
    """By hand: [1, -1] has a standard deviation of 1; a tie, a single valid grade and no grade at all have none."""
    rewards = torch.tensor([[1.0, -1.0], [0.5, 0.5], [3.0, 9.0], [1.0, 2.0]])
    valid = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    assert group_std(rewards, valid).tolist() == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("count", [3, 6, 7, 11, 12])
def test_alike_is_exact_whatever_the_mean_rounds_to(count: int) -> None:
    """In float32 the mean of seven times 0.7 is not 0.7."""
    rewards = torch.tensor([[k / 13] * count + [9.0] for k in range(14)])
    valid = torch.tensor([[True] * count + [False]] * 14)
    assert group_std(rewards, valid).tolist() == [0.0] * 14
    assert group_normalised(rewards, valid).abs().max() == 0.0
