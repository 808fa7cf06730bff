"""Verdicts into rewards, by hand."""

from __future__ import annotations

import functools

import pytest
import torch
from PIL import Image

from arr_rpo.judge.base import settle
from arr_rpo.reward.gaps import Gaps
from arr_rpo.reward.pair_protocols import Compare
from arr_rpo.reward.pairings import Pairing, anchor, disjoint, round_robin, swiss
from arr_rpo.reward.pairwise import Pairwise
from arr_rpo.reward.point_protocols import Checklist, Score
from arr_rpo.reward.pointwise import Pointwise
from arr_rpo.types import Answer, Cost, Criterion, Outcome, Prompt, Rollout, Rubric, UserError, Verdict

RUBRIC = Rubric((Criterion("a", "is it?"),))
STRICT = Gaps(ask_again=0, min_answered=1.0)


def rollout(prompts: int, group_size: int) -> Rollout:
    images = tuple(Image.new("RGB", (2, 2), (i, i, i)) for i in range(prompts * group_size))
    empty = torch.zeros(len(images), 1)
    return Rollout(tuple(Prompt(str(i), f"p{i}") for i in range(prompts)), group_size, images, *[empty] * 4, (0,))


def pairwise(pairing: Pairing = disjoint, *, uses_rubric: bool = False, lose: float = -1.0) -> Pairwise:
    return Pairwise(protocol=Compare(uses_rubric=uses_rubric), win=1.0, lose=lose, pairing=pairing)


class Scripted:
    """Says what it is told to, and remembers what it was asked."""

    name = revision = "scripted"

    def __init__(self, outcomes: list[Outcome]) -> None:
        self.outcomes, self.pairs, self.rubrics = outcomes, [], []

    def compare(self, prompts, pairs, rubrics):  # type: ignore[no-untyped-def]
        self.pairs, self.rubrics = list(pairs), list(rubrics)
        return [Verdict(o, None if o is Outcome.FAILED else 0.5, cost=Cost(2, 7)) for o in self.outcomes]

    def score(self, prompts, images):  # type: ignore[no-untyped-def]
        return [Answer(v, Cost(1, 3)) for v in (1.0, 5.0, None, 2.0)]


def test_every_outcome_has_its_reward() -> None:
    judge = Scripted([Outcome.A, Outcome.B, Outcome.TIE, Outcome.INCONSISTENT, Outcome.FAILED])
    got = pairwise(lose=-0.1, uses_rubric=True)(judge, rollout(5, 2), [RUBRIC] * 5)
    assert got.values_B.tolist() == pytest.approx([1, -0.1, -0.1, 1, 0, 0, 0, 0, 0, 0])
    assert got.valid_B.tolist() == [True] * 6 + [False] * 4
    assert got.cost == Cost(10, 35)
    assert judge.rubrics == [RUBRIC] * 5


def test_groups_are_compared_in_disjoint_pairs() -> None:
    judge, four = Scripted([Outcome.B, Outcome.A]), rollout(1, 4)
    got = pairwise()(judge, four, [None])
    assert judge.pairs == [(four.images[0], four.images[1]), (four.images[2], four.images[3])]
    assert judge.rubrics == [None, None]
    assert got.values_B.tolist() == [-1, 1, 1, -1]


def test_a_prompt_without_rubric_is_not_judged() -> None:
    judge = Scripted([Outcome.A])
    got = pairwise(uses_rubric=True)(judge, rollout(2, 2), [None, RUBRIC])
    assert got.valid_B.tolist() == [False, False, True, True]
    assert judge.rubrics == [RUBRIC]
    assert got.verdict_rows == ((0, 1), (2, 3))
    assert [v.outcome for v in got.verdicts] == [Outcome.FAILED, Outcome.A]
    assert "rubric" in got.verdicts[0].reason


def test_an_odd_group_is_refused() -> None:
    with pytest.raises(UserError, match="group_size=3"):
        pairwise().check_group_size(3)
    pairwise(round_robin).check_group_size(3)
    with pytest.raises(UserError, match="group_size=1"):
        pairwise(anchor).check_group_size(1)


class Ranked:
    """Prefers the brighter picture, says nothing of some pairs, and counts."""

    name = revision = "ranked"

    def __init__(self, silent: set[tuple[int, int]] | None = None) -> None:
        self.silent, self.asked = silent or set(), []

    def compare(self, prompts, pairs, rubrics):  # type: ignore[no-untyped-def]
        values = [tuple(image.getpixel((0, 0))[0] for image in pair) for pair in pairs]
        self.asked.append(values)
        return [
            Verdict(Outcome.FAILED, None, cost=Cost(2, 0))
            if (a, b) in self.silent
            else Verdict(Outcome.A if a > b else Outcome.B, 0.5, cost=Cost(2, 0))
            for a, b in values
        ]


def test_round_robin_gives_win_rates() -> None:
    judge = Ranked()
    got = pairwise(round_robin)(judge, rollout(1, 4), [None])
    assert len(got.verdicts) == 6
    assert got.values_B.tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])  # 2 * win rate - 1
    assert got.cost.calls == 12


def test_a_missing_verdict_is_no_defeat() -> None:
    got = pairwise(round_robin)(Ranked({(0, 3), (1, 3), (2, 3)}), rollout(1, 4), [None])
    assert got.values_B.tolist() == pytest.approx([-1, 0, 1, 0])
    assert got.valid_B.tolist() == [True, True, True, False]


def test_anchor_compares_with_the_first() -> None:
    judge = Ranked()
    got = pairwise(anchor)(judge, rollout(2, 4), [None, None])
    assert judge.asked == [[(0, 1), (0, 2), (0, 3), (4, 5), (4, 6), (4, 7)]]
    assert got.values_B.tolist() == [-1, 1, 1, 1] * 2


def test_swiss_lets_winners_meet_and_nobody_twice() -> None:
    judge = Ranked()
    got = pairwise(functools.partial(swiss, rounds=3))(judge, rollout(1, 4), [None])
    assert judge.asked == [[(0, 1), (2, 3)], [(1, 3), (0, 2)], [(0, 3), (1, 2)]]
    assert got.values_B.tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])


@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("rounds", [1, 2, 6])
def test_swiss_never_repeats_a_pair(size: int, rounds: int) -> None:
    met = [pair for some in swiss(size, [0.0] * size, rounds=rounds) for pair in some]
    assert len(met) == len(set(met)) <= size * (size - 1) // 2
    assert all(a < b for a, b in met)


def test_grades_are_rewards_and_failed_ones_are_masked() -> None:
    got = Pointwise(protocol=Score(tie_margin=0.0))(Scripted([]), rollout(2, 2), [None, None])
    assert got.values_B.tolist() == [0, 1, 0, 0.25]
    assert got.valid_B.tolist() == [True, True, False, True]
    assert [grade.value for grade in got.grades] == [0, 1, None, 0.25]
    assert got.cost == Cost(4, 12)
    assert got.verdicts == ()


class Brightness:
    """Answers by how bright a picture is, and remembers what it was asked."""

    name = revision = "brightness"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str]] = []

    def check(self, prompts, images, questions):  # type: ignore[no-untyped-def]
        bright = [image.getpixel((0, 0))[0] for image in images]
        self.asked += zip([p.id for p in prompts], bright, questions, strict=True)
        return [Answer(value / 10, Cost(1, 2)) for value in bright]


def test_each_candidate_is_graded_by_the_rubric_of_its_prompt() -> None:
    judge = Brightness()
    reward = Pointwise(protocol=Checklist(gate="mean", fixed=None, tie_margin=0.0, gaps=STRICT))
    assert reward.uses_rubric
    got = reward(judge, rollout(2, 2), [None, RUBRIC])
    assert judge.asked == [("1", 2, "is it?"), ("1", 3, "is it?")]
    assert got.values_B.tolist() == pytest.approx([0, 0, 0.2, 0.3])
    assert got.valid_B.tolist() == [False, False, True, True]
    assert got.rubrics == (None, RUBRIC)


def test_grades_can_decide_pairs_and_each_image_is_graded_once() -> None:
    judge = Brightness()
    protocol = Checklist(gate="mean", fixed=None, tie_margin=0.15, gaps=STRICT)
    got = Pairwise(protocol=protocol, win=1.0, lose=-1.0, pairing=round_robin)(judge, rollout(1, 3), [RUBRIC])
    assert len(judge.asked) == 3
    assert [v.outcome for v in got.verdicts] == [Outcome.TIE, Outcome.B, Outcome.TIE]  # 0 : 0.1, 0 : 0.2, 0.1 : 0.2
    assert got.values_B.tolist() == pytest.approx([-0.5, 0, 0.5])
    assert got.cost == Cost(3, 6)


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
