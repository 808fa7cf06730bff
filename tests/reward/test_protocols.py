"""Grades of single pictures as verdicts on pairs; expected values by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from PIL import Image

from arr_rpo.reward.pair_protocols import Compare
from arr_rpo.reward.protocols import _difference, as_verdicts
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.types import (
    Cost,
    CriterionCheck,
    Grade,
    Outcome,
    Prompt,
    Verdict,
)
from tests.reward.doubles import PROMPT, A, B, C, Scripted, said


class Graded:
    """A point protocol that gives out what it has, by red level."""

    uses_rubric, tie_margin = False, 0.1

    def __init__(self, *grades: Grade) -> None:
        self.by_level, self.asked = dict(enumerate(grades, start=1)), []

    def grades(self, judge, prompts, images, rubrics):  # type: ignore[no-untyped-def]
        self.asked = [image.getpixel((0, 0))[0] for image in images]
        return [self.by_level[level] for level in self.asked]


def verdict_of(a: Grade, b: Grade) -> Verdict:
    (verdict,) = as_verdicts(Graded(a, b), Scripted(), [PROMPT], [(A, B)], [None])
    return verdict


@pytest.mark.parametrize(
    ("a", "b", "outcome", "p_a"),
    [
        (0.9, 0.1, Outcome.A, 0.9),
        (0.25, 0.5, Outcome.B, 0.375),
        (0.5, 0.45, Outcome.TIE, 0.525),
        (0.5, 0.375, Outcome.A, 0.5625),  # 0.125 apart, beyond the margin of 0.1
        (1.0, 0.0, Outcome.A, 1.0),
    ],
)
def test_the_higher_grade_wins_beyond_the_margin(a: float, b: float, outcome: Outcome, p_a: float) -> None:
    verdict = verdict_of(Grade(a, (), Cost(1, 2)), Grade(b, (), Cost(3, 4)))
    assert verdict.outcome is outcome
    assert verdict.p_a == pytest.approx(p_a)
    assert verdict.p_a_by_order == (verdict.p_a, verdict.p_a)
    assert verdict.cost == Cost(4, 6)


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (Grade(None, reason="x"), Grade(0.4), "x"),
        (Grade(0.4), Grade(None, reason="y"), "y"),
        (Grade(None, reason="x"), Grade(None, reason="y"), "x"),
    ],
)
def test_a_missing_grade_fails_the_pair(a: Grade, b: Grade, reason: str) -> None:
    verdict = verdict_of(a, b)
    assert (verdict.outcome, verdict.p_a, verdict.reason) == (Outcome.FAILED, None, reason)


def test_checks_of_both_sides_meet() -> None:
    a = Grade(0.9, (("color", "is it red?", 0.9), ("text", "is it legible?", 0.8)))
    b = Grade(0.1, (("shape", "is it round?", 0.2), ("color", "is it red?", 0.3)))
    assert verdict_of(a, b).checks == (CriterionCheck("color", "is it red?", 0.9, 0.3),)


def test_an_image_in_several_pairs_is_graded_and_paid_for_once() -> None:
    protocol = Graded(Grade(0.1, (), Cost(1, 1)), Grade(0.5, (), Cost(1, 10)), Grade(0.9, (), Cost(1, 100)))
    got = as_verdicts(protocol, Scripted(), [PROMPT] * 4, [(A, B), (C, A), (B, C), (C, C)], [None] * 4)
    assert protocol.asked == [1, 2, 3]
    assert [v.outcome for v in got] == [Outcome.B, Outcome.A, Outcome.B, Outcome.TIE]
    assert [v.cost for v in got] == [Cost(2, 11), Cost(1, 100), Cost(), Cost()]


def test_an_image_of_two_prompts_is_graded_for_each() -> None:
    protocol = Graded(Grade(0.1), Grade(0.5))
    as_verdicts(protocol, Scripted(), [PROMPT, Prompt("q", "a blue circle")], [(A, B)] * 2, [None] * 2)
    assert protocol.asked == [1, 2, 1, 2]


def test_pair_protocols_go_through_as_they_are() -> None:
    judge = Scripted({(): said(0.9, 0.1)})
    assert as_verdicts(Compare(uses_rubric=False), judge, [PROMPT], [(A, B)], [None]) == [said(0.9, 0.1)]


def test_a_protocol_may_know_what_its_grades_say_of_a_pair() -> None:
    """Grades 2 apart: log-odds of a Bradley-Terry model, and not (1 + 2) / 2."""

    class LogOdds:
        uses_rubric, tie_margin = False, 0.0

        def grades(self, judge: object, prompts: Sequence[Prompt], images: Sequence[object], rubrics: object) -> list[Grade]:
            return [Grade(3.0), Grade(1.0)]

        @staticmethod
        def p_better(a: float, b: float) -> float:
            return 1 / (1 + math.exp(b - a))

    pair = (Image.new("RGB", (2, 2), "red"), Image.new("RGB", (2, 2), "blue"))
    [verdict] = as_verdicts(LogOdds(), OracleJudge(), [Prompt("p", "x")], [pair], [None])
    assert verdict.outcome is Outcome.A
    assert verdict.p_a == pytest.approx(math.e**2 / (1 + math.e**2))


def test_grades_in_a_unit_of_their_own_are_no_probability_above_one() -> None:
    assert [_difference(a, b) for a, b in ((22.1, 20.0), (20.0, 22.1), (0.5, 0.25))] == [1.0, 0.0, 0.625]
