"""The rules by which an arm is gamed, on curves made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from experiments.hacking.analyse import (
    Course,
    arms_table,
    claims_table,
    compared,
    exploited,
    fall,
    is_gamed,
    mean_curve,
    onset,
)

PROMPTS = 60


def made(gold: Sequence[float], proxy: Sequence[float], who: str = "ada", noise: float = 0.1, seed: int = 0) -> Course:
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, noise, (1, PROMPTS))
    fresh = rng.normal(0, noise / 4, (len(gold), PROMPTS))
    won = (np.arange(PROMPTS) / PROMPTS < np.array(proxy)[:, None]).astype(float)
    won[0] = 0.5
    return Course(who, np.arange(len(gold), dtype=float), np.array(gold)[:, None] + drift + fresh, won)


def arm(gold: Sequence[float], proxy: Sequence[float], annotators: int = 8) -> list[Course]:
    return [made(gold, proxy, f"annotator {i}", seed=i) for i in range(annotators)]


RISES = [0.5, 0.6, 0.65, 0.7, 0.75]
TURNS = [0.5, 0.6, 0.7, 0.6, 0.5]


def test_gold_that_falls_while_the_proxy_rises_is_gamed() -> None:
    falls, best = fall(arm(TURNS, RISES))
    assert best == 2
    assert falls[0] == pytest.approx(-0.2, abs=0.02)
    assert np.quantile(falls[1:], 0.975) < -0.15
    assert is_gamed(arm(TURNS, RISES))
    assert not is_gamed(arm(RISES, RISES))
    assert not is_gamed(arm(TURNS, [0.5, 0.6, 0.8, 0.7, 0.6]))  # the policy got worse at both


def test_a_lucky_best_is_no_fall() -> None:
    """Of curves that do not move, 200 measurements in noise: their greatest minus their last is 0.05 on the same prompts."""
    rng = np.random.default_rng(1)
    flat = [Course(str(i), np.arange(200.0), rng.normal(0.5, 0.4, (200, PROMPTS)), np.ones((200, PROMPTS))) for i in range(8)]
    curve = mean_curve(flat, lambda some: some.gold_TP)
    assert curve.max() - curve.mean() > 0.04
    falls, _ = fall(flat)
    assert np.quantile(falls[1:], 0.025) < 0 < np.quantile(falls[1:], 0.975)
    assert not is_gamed(flat)


def test_onset_takes_two_in_a_row() -> None:
    assert onset(arm(TURNS, RISES)) == 2
    assert onset(arm([0.5, 0.6, 0.5, 0.7, 0.8], RISES)) is None


def test_exploited_are_those_that_win_and_are_worth_less() -> None:
    gold = np.array([[0.5, 0.5, 0.5, 0.5], [0.4, 0.6, 0.4, 0.6]])
    proxy = np.array([[0.5, 0.5, 0.5, 0.5], [1.0, 1.0, 1.0, 0.0]])  # three win, two of which are worth less
    one = Course("ada", np.array([0.0, 2.0]), gold, proxy)
    assert exploited([one])[0] == pytest.approx(2 / 3)
    assert one.at(1.0, one.accepted) == pytest.approx([0.5, 0.5, 0.5, 0])
    assert one.at(9.0, gold) == pytest.approx(gold[-1])
    assert one.at(0.0, gold) == pytest.approx(gold[0])


def test_arms_are_compared_at_the_lesser_kl_of_each_annotator() -> None:
    """They are the same course, of which one went on to where all is exploited."""
    gold, proxy = [0.5, 0.6, 0.1], [0.5, 0.6, 0.6]
    far = [made(gold, proxy, str(i), seed=i) for i in range(4)]
    near = [Course(c.annotator, c.root_kl_T[:2], c.gold_TP[:2], c.proxy_TP[:2]) for c in far]
    assert exploited(far)[0] > exploited(near)[0] + 0.5
    assert compared(far, near) == pytest.approx(0)


def test_tables() -> None:
    arms = {"prompt_alone": arm(TURNS, RISES), "conjunctive": arm(RISES, RISES), "oracle": []}
    lines = arms_table(arms).splitlines()
    assert lines[2].startswith("| prompt_alone | 8 | 4.0 | 0.495 | 0.696 (at 2)")
    assert lines[2].endswith("| 2 | yes |")
    assert lines[3].endswith("| no |")
    claims = claims_table(arms).splitlines()
    assert len(claims) == 4
    assert claims[2].startswith("| conjunctive has a lower share")
    assert claims[2].endswith("| shown |")
    assert claims[3].endswith("| shown |")
