"""Verdicts into rewards, by hand."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from arr_rpo.judge.base import settle
from arr_rpo.reward.pairwise import Pairwise
from arr_rpo.reward.scalar import Scalar
from arr_rpo.types import Cost, Criterion, Outcome, Prompt, Rollout, Rubric, Score, UserError, Verdict

RUBRIC = Rubric((Criterion("a", "is it?"),))


def rollout(prompts: int, group_size: int) -> Rollout:
    images = tuple(Image.new("RGB", (2, 2), (i, i, i)) for i in range(prompts * group_size))
    empty = torch.zeros(len(images), 1)
    return Rollout(tuple(Prompt(str(i), f"p{i}") for i in range(prompts)), group_size, images, empty, empty, (0,))


class Scripted:
    """Says what it is told to, and remembers what it was asked."""

    name = revision = "scripted"

    def __init__(self, outcomes: list[Outcome]) -> None:
        self.outcomes, self.pairs, self.rubrics = outcomes, [], []

    def compare(self, prompts, pairs, rubrics):  # type: ignore[no-untyped-def]
        self.pairs, self.rubrics = list(pairs), list(rubrics)
        return [Verdict(o, None if o is Outcome.FAILED else 0.5, cost=Cost(2, 7)) for o in self.outcomes]

    def score(self, prompts, images):  # type: ignore[no-untyped-def]
        return [Score(v, Cost(1, 3)) for v in (1.0, 5.0, None, 2.0)]


def test_every_outcome_has_its_reward() -> None:
    judge = Scripted([Outcome.A, Outcome.B, Outcome.TIE, Outcome.INCONSISTENT, Outcome.FAILED])
    got = Pairwise(win=1.0, lose=-0.1, uses_rubric=True)(judge, rollout(5, 2), [RUBRIC] * 5)
    assert got.values_B.tolist() == pytest.approx([1, -0.1, -0.1, 1, 0, 0, 0, 0, 0, 0])
    assert got.valid_B.tolist() == [True] * 6 + [False] * 4
    assert got.cost == Cost(10, 35)
    assert judge.rubrics == [RUBRIC] * 5


def test_groups_are_compared_in_disjoint_pairs() -> None:
    judge, four = Scripted([Outcome.B, Outcome.A]), rollout(1, 4)
    got = Pairwise(win=1.0, lose=-1.0, uses_rubric=False)(judge, four, [None])
    assert judge.pairs == [(four.images[0], four.images[1]), (four.images[2], four.images[3])]
    assert judge.rubrics == [None, None]
    assert got.values_B.tolist() == [-1, 1, 1, -1]


def test_a_prompt_without_rubric_is_not_judged() -> None:
    judge = Scripted([Outcome.A])
    got = Pairwise(win=1.0, lose=-1.0, uses_rubric=True)(judge, rollout(2, 2), [None, RUBRIC])
    assert got.valid_B.tolist() == [False, False, True, True]
    assert got.verdict_prompts == (1,)


def test_an_odd_group_is_refused() -> None:
    with pytest.raises(UserError, match="group_size=3"):
        Pairwise(win=1.0, lose=-1.0, uses_rubric=False).check_group_size(3)


def test_scalar_masks_failed_grades() -> None:
    got = Scalar()(Scripted([]), rollout(2, 2), [None, None])
    assert got.values_B.tolist() == [0, 1, 0, 0.25]
    assert got.valid_B.tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (0.9, 0.8, Outcome.A),
        (0.1, 0.3, Outcome.B),
        (0.9, 0.1, Outcome.INCONSISTENT),
        (0.3, 0.7, Outcome.INCONSISTENT),
        (0.55, 0.45, Outcome.TIE),
        (0.58, 0.58, Outcome.TIE),
        (0.95, 0.45, Outcome.A),
    ],
)
def test_two_orders_become_one_verdict(first: float, second: float, outcome: Outcome) -> None:
    verdict = settle(first, second, 0.1, (), Cost())
    assert verdict.outcome is outcome
    assert verdict.p_a == pytest.approx((first + second) / 2)
