"""Intervals, p-values and their correction, against figures worked out by hand and against simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from arr_rpo.report import statistics as st
from arr_rpo.report.estimates import Comparing, estimate

HOW = Comparing(confidence=0.95, draws=2000, seed=5, kl=None)


def test_t_by_hand() -> None:
    # Mean 0.1, standard error 0.05; t of one degree of freedom is a Cauchy: its 97.5% point is tan(0.475 pi) = 12.706.
    half = 0.05 * math.tan(0.475 * math.pi)
    assert st.t_interval([0.05, 0.15], 0.95) == pytest.approx((0.1 - half, 0.1 + half))
    assert st.t_p_value([0.05, 0.15]) == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    assert st.t_p_value([-0.05, -0.15]) == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    assert st.t_p_value([0.0, 0.0]) == 1.0


def test_holm_by_hand() -> None:
    # 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which may not be below the 0.06 before it.
    assert st.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert st.holm([0.6, 0.7]) == [1.0, 1.0]
    assert st.holm([]) == []


def test_a_course_is_read_where_it_first_is() -> None:
    """It may fall back: the first time counts."""
    course = [0.0, 2.0, 1.0, 4.0]
    assert st.first_at(course, 1.5) == (0, 1, 0.75)
    assert st.first_at(course, 2.0) == (0, 1, 1.0)
    assert st.first_at(course, 2.5) == (2, 3, 0.5)
    assert st.first_at(course, 0.0) == st.first_at(course, -1.0) == (0, 0, 0.0)
    assert st.first_at(course, 4.5) is st.first_at([], 1.0) is None


def test_seeds_are_drawn_with_replacement() -> None:
    means = st.bootstrap_means(np.array([[0.0], [1.0]]), 20_000, seed=1)
    assert [(means == value).mean() for value in (0.0, 0.5, 1.0)] == pytest.approx([0.25, 0.5, 0.25], abs=0.015)


def test_a_draw_has_the_same_prompts_for_all_its_seeds() -> None:
    # Two prompts that differ, alike with both seeds. Drawn anew within each seed, the mean would be 0 in 1 of 16 draws.
    means = st.bootstrap_means(np.array([[0.0, 1.0], [0.0, 1.0]]), 20_000, seed=1)
    assert [(means == value).mean() for value in (0.0, 0.5, 1.0)] == pytest.approx([0.25, 0.5, 0.25], abs=0.015)


def test_bootstrap_p_value_by_hand() -> None:
    # One of nine draws is on the far side: 2 * (1 + 1) / (9 + 1).
    assert st.bootstrap_p_value(np.array([-1.0] + [1.0] * 8)) == pytest.approx(0.4)
    assert st.bootstrap_p_value(np.array([1.0] * 8 + [-1.0])) == pytest.approx(0.4)
    assert st.bootstrap_p_value(np.full(9, 1.0)) == pytest.approx(0.2)  # no draw: not 0, the number of draws shows no more
    assert st.bootstrap_p_value(np.zeros(9)) == 1.0


def test_the_intervals_of_an_estimate() -> None:
    both = estimate(np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]), HOW, "seed")
    assert both.value == pytest.approx(5 / 6)
    assert (both.units, both.note) == (2, "")
    assert both.t is not None and both.bootstrap is not None
    assert (both.low, both.high) == (both.t.low, both.t.high)  # the wider one: two seeds have a t of 12.7
    means = estimate(np.array([[0.2], [0.3]]), HOW, "seed")
    assert means.bootstrap is not None and (means.bootstrap.low, means.bootstrap.high) == (0.2, 0.3)  # over seeds
    one = estimate(np.array([[0.0, 1.0, 1.0]]), HOW, "seed")
    assert one.t is None and one.bootstrap is not None and one.bootstrap.low < one.bootstrap.high  # over prompts
    assert one.note == "one seed: the interval is over prompts only"
    alone = estimate(np.array([[0.2]]), HOW, "seed")
    assert (alone.value, alone.low, alone.high, alone.note) == (0.2, None, None, "one seed: no interval")


@pytest.mark.parametrize(("between_seeds", "between_prompts"), [(0.04, 0.0), (0.01, 0.3), (0.04, 0.3)])
def test_intervals_contain_the_truth_as_often_as_they_say(between_seeds: float, between_prompts: float) -> None:
    """Differences of five seeds on 40 prompts: an effect of the seed, one of the prompt on all seeds, and noise."""
    rng, simulations, held = np.random.default_rng(0), 400, 0
    for _ in range(simulations):
        seeds, prompts = rng.normal(0, between_seeds, (5, 1)), rng.normal(0, between_prompts, (1, 40))
        found = estimate(0.1 + seeds + prompts + rng.normal(0, 0.3, (5, 40)), HOW, "seed")
        assert found.low is not None and found.high is not None
        held += found.low <= 0.1 <= found.high
    assert held / simulations >= 0.935  # 0.95 less one and a half standard errors


def test_t_alone_would_not() -> None:
    """Why there are two intervals: what a lucky choice of prompts does to all seeds alike does not show between seeds."""
    rng, simulations, held = np.random.default_rng(0), 200, 0
    for _ in range(simulations):
        values = 0.1 + rng.normal(0, 0.3, (1, 40)) + rng.normal(0, 0.1, (5, 40))
        low, high = st.t_interval(values.mean(axis=1).tolist(), 0.95)
        held += low <= 0.1 <= high
    assert held / simulations < 0.8
