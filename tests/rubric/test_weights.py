"""Weights of criteria: the optimum by its conditions, planted weights found again, and the penalty by what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from arr_rpo.rubric.weights import cross_validated, weigh


def chosen(weights: list[float], n: int, seed: int) -> np.ndarray:
    """(n, K) differences, preferred minus other, of choices by Bradley-Terry at these weights among yes and no at random."""
    rng = np.random.default_rng(seed)
    difference = rng.integers(0, 2, (n, len(weights))) - rng.integers(0, 2, (n, len(weights)))
    prefers = rng.random(n) < expit(difference @ np.array(weights))
    return np.where(prefers[:, None], difference, -difference).astype(float)


@pytest.mark.parametrize("penalty", [0.003, 0.03, 0.1])
def test_the_weights_are_optimal(penalty: float) -> None:
    """The conditions of Karush, Kuhn and Tucker: no slope where a weight is positive, and none downwards where it is 0."""
    d = chosen([2.0, 0.8, 0.0, 0.0, -1.0], 400, seed=0)
    w = weigh(d, penalty)
    slope = -(d * expit(-d @ w)[:, None]).mean(0) + penalty
    assert (w >= 0).all()
    assert w[4] == 0  # what is disliked is no criterion
    assert slope[w > 0] == pytest.approx(0, abs=1e-5)
    assert (slope[w == 0] > -1e-6).all()


def test_one_criterion_by_hand() -> None:
    """9 pairs of 10 prefer the one that meets it: logit 0.9 = log 9 without a penalty; with p the odds' share is 0.9 - p."""
    d = np.array([[1.0]] * 9 + [[-1.0]])
    assert weigh(d, 0.0) == pytest.approx([np.log(9)], abs=1e-3)
    assert weigh(d, 0.1) == pytest.approx([np.log(0.8 / 0.2)], abs=1e-3)
    assert weigh(d, 0.4) == pytest.approx([0.0])  # the slope at 0 is -(0.9 - 0.1) / 2 = -0.4


def test_planted_weights_are_found_again() -> None:
    d = chosen([2.0, 1.0, 0.5, *[0.0] * 9], 2_000, seed=1)
    fit = cross_validated(d, [str(i) for i in range(len(d))], [0.001, 0.003, 0.01, 0.03], folds=5)
    assert fit.weights[:3] == pytest.approx([2.0, 1.0, 0.5], abs=0.25)
    assert fit.weights[3:].max() < 0.15
    assert fit.loss < np.log(2)
    assert fit.accuracy > 0.7


def test_a_coin_says_nothing() -> None:
    d = chosen([0.0] * 6, 60, seed=2)
    fit = cross_validated(d, [str(i) for i in range(60)], [0.003, 0.1, 0.3], folds=5)
    assert fit.penalty == 0.3
    assert fit.weights.max() == 0


def test_pairs_of_a_prompt_are_left_out_together() -> None:
    """Each prompt has a criterion of its own that explains its pairs: of what is left out it says nothing."""
    d = np.repeat(np.eye(6), 4, axis=0)
    apart = cross_validated(d, [str(i) for i in range(24)], [0.001], folds=4)
    together = cross_validated(d, [str(i // 4) for i in range(24)], [0.001], folds=6)
    assert apart.accuracy == 1.0
    assert (together.accuracy, together.loss) == (0.5, pytest.approx(np.log(2)))


def test_a_single_prompt_leaves_nothing_out() -> None:
    fit = cross_validated(np.ones((4, 1)), ["p"] * 4, [0.01, 0.1], folds=5)
    assert (fit.penalty, fit.accuracy) == (0.1, 0.5)
    assert fit.weights == pytest.approx([np.log(0.9 / 0.1)], abs=1e-3)


def test_what_is_believed_beforehand_has_the_weight_of_what_tells_the_same() -> None:
    """Of two criteria that always agree the one with the lesser penalty has all of it, and more of it."""
    told = np.array([[1.0, 1.0]] * 8 + [[-1.0, -1.0]] * 2)
    even, first = (
        cross_validated(told, [str(i) for i in range(10)], [0.1], 5),
        cross_validated(told, [str(i) for i in range(10)], [0.1], 5, np.array([0.3, 1.0])),
    )
    assert first.weights[1] == pytest.approx(0, abs=1e-6)
    assert first.weights[0] == pytest.approx(np.log((0.8 - 0.03) / (0.2 + 0.03)), abs=1e-4)  # where the gradient is 0
    assert even.weights.sum() == pytest.approx(np.log((0.8 - 0.1) / (0.2 + 0.1)), abs=1e-4)
