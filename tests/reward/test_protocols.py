"""Each way of asking, on a judge that says what it is told to; expected values by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import pytest
from PIL import Image

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.reward.gaps import Gaps
from arr_rpo.reward.pair_protocols import Compare, Criteria, DeltaRubric
from arr_rpo.reward.point_protocols import Checklist, Rational, Score
from arr_rpo.reward.protocols import as_verdicts
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.types import (
    Answer,
    Cost,
    Criterion,
    CriterionCheck,
    Critique,
    Grade,
    Outcome,
    Prompt,
    Reason,
    Rubric,
    Verdict,
)

STRICT = Gaps(ask_again=0, min_answered=1.0)

PROMPT = Prompt("p", "a red circle")
RED, ROUND = Criterion("color", "is it red?", 3.0), Criterion("shape", "is it round?", 1.0)
BOTH = Rubric((RED, ROUND))
PLAN = '{"criteria": [{"name": "size", "question": "is it large?"}]}'
A, B, C = (Image.new("RGB", (2, 2), (level, 0, 0)) for level in (1, 2, 3))
FAILED = Verdict(Outcome.FAILED, None, cost=Cost(2, 5), reason="no answer")


def said(first: float, second: float, *checks: CriterionCheck) -> Verdict:
    """A verdict of which protocols read the probabilities only."""
    p_a = (first + second) / 2
    return Verdict(Outcome.A if p_a > 0.5 else Outcome.B, p_a, (first, second), checks, Cost(2, 10))


class Scripted:
    """verdicts: by the questions of the rubric; answers: by picture (its red level) and question."""

    name, revision = "scripted", "7"

    def __init__(
        self,
        verdicts: Mapping[tuple[str, ...], Verdict] | None = None,
        answers: Mapping[tuple[int, str], float | None] | None = None,
        scores: Sequence[Answer] = (),
        critiques: Sequence[Critique] = (),
        plans: Sequence[str | NoAnswer] = (),
    ) -> None:
        self.verdicts, self.answers = verdicts or {}, answers or {}
        self.scores, self.critiques, self.plans = list(scores), list(critiques), list(plans)
        self.rubrics: list[Rubric | None] = []
        self.pairs: list[object] = []
        self.questions: list[tuple[int, str]] = []
        self.asked_in: list[list[str]] = []  # dimensions

    def compare(self, prompts, pairs, rubrics):  # type: ignore[no-untyped-def]
        self.rubrics += rubrics
        self.pairs += pairs
        return [self.verdicts[tuple(c.question for c in r.criteria) if r else ()] for r in rubrics]

    def check(self, prompts, images, questions):  # type: ignore[no-untyped-def]
        asked = [(image.getpixel((0, 0))[0], q) for image, q in zip(images, questions, strict=True)]
        self.questions += asked
        found = [self.answers[key] for key in asked]
        return [Answer(p, Cost(1, 4), "" if p is not None else "mumbled") for p in found]

    def score(self, prompts, images):  # type: ignore[no-untyped-def]
        return [self.scores.pop(0) for _ in images]

    def critique(self, prompts, images, dimensions):  # type: ignore[no-untyped-def]
        self.asked_in.append(list(dimensions))
        return [self.critiques.pop(0) for _ in images]

    def plan(self, prompts, pairs):  # type: ignore[no-untyped-def]
        return self.plans, Cost(len(pairs), 100)


# -- pairs ------------------------------------------------------------------------------------------------------------


def test_without_rubric_the_judge_is_shown_none() -> None:
    judge = Scripted({(): said(0.9, 0.9)})
    assert Compare(uses_rubric=False).verdicts(judge, [PROMPT], [(A, B)], [BOTH]) == [said(0.9, 0.9)]
    assert judge.rubrics == [None]


def test_with_rubric_a_prompt_without_one_fails_and_the_others_keep_their_places() -> None:
    judge = Scripted({("is it red?", "is it round?"): said(0.9, 0.9), ("is it red?",): said(0.1, 0.1)})
    got = Compare(uses_rubric=True).verdicts(judge, [PROMPT] * 3, [(A, B)] * 3, [BOTH, None, Rubric((RED,))])
    assert [v.outcome for v in got] == [Outcome.A, Outcome.FAILED, Outcome.B]
    assert (got[1].p_a, got[1].cost) == (None, Cost())
    assert "no rubric" in got[1].reason
    assert len(judge.rubrics) == 2


def criteria(red: Verdict, round_: Verdict, aggregate: str = "mean") -> tuple[Verdict, Scripted]:
    judge = Scripted({("is it red?",): red, ("is it round?",): round_})
    protocol = Criteria(aggregate=aggregate, tie_margin=0.1, gaps=STRICT)  # type: ignore[arg-type]
    return protocol.verdicts(judge, [PROMPT], [(A, B)], [BOTH])[0], judge


def test_criteria_are_averaged_by_weight_in_each_order() -> None:
    red, round_ = CriterionCheck("color", "is it red?", 0.9, 0.2), CriterionCheck("shape", "is it round?", 0.3, 0.4)
    verdict, judge = criteria(said(0.8, 0.8, red), said(0.4, 0.2, round_))
    assert verdict.p_a_by_order == pytest.approx((0.7, 0.65))  # (3 * 0.8 + 0.4) / 4, (3 * 0.8 + 0.2) / 4
    assert (verdict.outcome, verdict.p_a) == (Outcome.A, pytest.approx(0.675))
    assert verdict.checks == (red, round_)
    assert verdict.cost == Cost(4, 20)
    assert [r.criteria for r in judge.rubrics if r] == [(RED,), (ROUND,)]


def test_criteria_by_votes_count_who_wins_each() -> None:
    verdict, _ = criteria(said(0.51, 0.5), said(0.0, 0.0), aggregate="votes")
    assert verdict.p_a_by_order == (0.75, 0.375)  # 3 of 4 votes; half of 3 of 4
    assert verdict.outcome is Outcome.INCONSISTENT  # opposite opinions, both beyond the margin of 0.1
    mean, _ = criteria(said(0.51, 0.5), said(0.0, 0.0))
    assert mean.outcome is Outcome.B


@pytest.mark.parametrize(
    ("red", "round_", "outcome"),
    [
        (said(0.2, 0.2), said(0.9, 0.9), Outcome.B),  # 0.375 in both
        (said(0.6, 0.6), said(0.4, 0.4), Outcome.TIE),  # 0.55 in both
        (said(0.9, 0.1), said(0.9, 0.1), Outcome.INCONSISTENT),
    ],
)
def test_criteria_settle_like_any_verdict(red: Verdict, round_: Verdict, outcome: Outcome) -> None:
    assert criteria(red, round_)[0].outcome is outcome


def test_a_criterion_without_answer_fails_its_pair_at_what_it_cost() -> None:
    verdict, _ = criteria(said(0.9, 0.9), FAILED)
    assert (verdict.outcome, verdict.p_a, verdict.cost) == (Outcome.FAILED, None, Cost(4, 15))
    assert verdict.reason == "is it round? no answer"


def test_criteria_of_several_pairs_do_not_mix() -> None:
    judge = Scripted({("is it red?",): said(0.9, 0.9), ("is it round?",): said(0.1, 0.1)})
    protocol = Criteria(aggregate="mean", tie_margin=0.1, gaps=STRICT)
    got = protocol.verdicts(judge, [PROMPT] * 3, [(A, B), (B, C), (A, C)], [Rubric((ROUND,)), None, BOTH])
    assert [v.outcome for v in got] == [Outcome.B, Outcome.FAILED, Outcome.A]
    assert judge.pairs == [(A, B), (A, C), (A, C)]


def test_a_plan_becomes_the_rubric_of_both_orders() -> None:
    judge = Scripted({("is it large?",): said(0.2, 0.3)}, plans=[PLAN])
    (verdict,) = DeltaRubric().verdicts(judge, [PROMPT], [(A, B)], [BOTH])
    assert (verdict.outcome, verdict.cost) == (Outcome.B, Cost(3, 110))
    (rubric,) = judge.rubrics  # one call of `compare`, which asks in both orders
    assert rubric is not None
    assert rubric.provenance == {"writer": "scripted", "writer_revision": "7", "role": "plan", "prompt": "a red circle"}


@pytest.mark.parametrize(
    "text", ["", "Here is a checklist", PLAN[:-1], '{"criteria": []}', NoAnswer(Reason.UNREACHABLE, "the server is away")]
)
def test_a_plan_that_is_none_fails_its_pair_only(text: str | NoAnswer) -> None:
    judge = Scripted({("is it large?",): said(0.8, 0.8)}, plans=[text, PLAN])
    got = DeltaRubric().verdicts(judge, [PROMPT] * 2, [(A, B), (A, C)], [None, None])
    assert [v.outcome for v in got] == [Outcome.FAILED, Outcome.A]
    assert got[0].reason.startswith("no plan: the server is away" if isinstance(text, NoAnswer) else "no plan: ")
    assert got[0].cost + got[1].cost == Cost(2 + 2, 100 + 10)
    assert judge.pairs == [(A, C)]


# -- images -----------------------------------------------------------------------------------------------------------


def test_a_score_is_scaled() -> None:
    judge = Scripted(scores=[Answer(1.0, Cost(1, 2)), Answer(4.0), Answer(None, Cost(1, 3), "silence")])
    got = Score(tie_margin=0.05).grades(judge, [PROMPT] * 3, [A, B, C], [None] * 3)
    assert got == [Grade(0.0, (), Cost(1, 2)), Grade(0.75), Grade(None, (), Cost(1, 3), "silence")]


ANSWERS = {(1, "is it red?"): 0.8, (1, "is it round?"): 0.4, (2, "is it red?"): 0.5, (2, "is it round?"): None}


@pytest.mark.parametrize(("gate", "value"), [("mean", (3 * 0.8 + 0.4) / 4), ("all", 0.8 * 0.4)])
def test_a_checklist_is_averaged_or_gated(gate: str, value: float) -> None:
    judge = Scripted(answers=ANSWERS)
    protocol = Checklist(gate=gate, fixed=None, tie_margin=0.05, gaps=STRICT)  # type: ignore[arg-type]
    assert protocol.uses_rubric
    got = protocol.grades(judge, [PROMPT] * 3, [A, B, C], [BOTH, BOTH, None])
    assert got[0].value == pytest.approx(value)
    assert got[0].checks == (("color", "is it red?", 0.8), ("shape", "is it round?", 0.4))
    assert got[0].cost == Cost(2, 8)
    assert got[1] == Grade(None, (), Cost(2, 8), "is it round? mumbled")
    assert got[2].value is None
    assert "no rubric" in got[2].reason
    assert len(judge.questions) == 4


@dataclasses.dataclass
class Fixed:
    """The same rubric for every prompt."""

    rubric: Rubric

    def rubrics(self, prompts, judge):  # type: ignore[no-untyped-def]
        return [self.rubric] * len(prompts)


def test_fixed_criteria_need_no_rubric() -> None:
    judge = Scripted(answers={(1, "is it sharp?"): 0.25, (2, "is it sharp?"): 1.0})
    protocol = Checklist(gate="mean", fixed=Fixed(Rubric((Criterion("sharp", "is it sharp?"),))), tie_margin=0.05, gaps=STRICT)
    assert not protocol.uses_rubric
    got = protocol.grades(judge, [PROMPT] * 2, [A, B], [None, BOTH])
    assert [grade.value for grade in got] == [0.25, 1.0]
    assert judge.questions == [(1, "is it sharp?"), (2, "is it sharp?")]


def rational(dimensions: list[str], value: str) -> Rational:
    return Rational(dimensions=dimensions, edit_dimensions=["kept"], value=value, tie_margin=0.05)  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "expected"), [("overall", 2 / 3), ("mean", 1 / 6)])
def test_a_critique_leaves_out_what_does_not_apply(value: str, expected: float) -> None:
    critique = Critique("too blue", {"color": 1.0, "text": None, "shape": 2.0}, 3.0, Cost(2, 9))
    silent = Critique("", {}, None, Cost(2, 1), "cut off")
    judge = Scripted(critiques=[critique, silent])
    protocol = rational(["color", "text", "shape"], value)
    got = protocol.grades(judge, [PROMPT] * 2, [A, B], [None] * 2)
    assert judge.asked_in == [["color", "text", "shape"]]
    assert got[0].value == pytest.approx(expected)  # of 1 to 4; of 0 and 1/3
    assert got[0].checks == (("color", "color", 0.0), ("shape", "shape", pytest.approx(1 / 3)))
    assert (got[0].cost, got[0].reason) == (Cost(2, 9), "too blue")
    assert got[1] == Grade(None, (), Cost(2, 1), "cut off")


def test_where_no_dimension_applies_there_is_an_overall_grade_but_no_mean() -> None:
    critiques = [Critique("nothing to say", {"text": None}, 4.0)] * 2
    judge = Scripted(critiques=critiques)
    overall, mean = (rational(["text"], value).grades(judge, [PROMPT], [A], [None])[0] for value in ("overall", "mean"))
    assert (overall.value, mean.value) == (1.0, None)
    assert "no dimension applies" in mean.reason


def test_edits_are_criticised_in_dimensions_of_their_own() -> None:
    of_pictures, of_edits = Critique("", {"color": 4.0}, 4.0), Critique("", {"kept": 1.0}, 1.0)
    judge = Scripted(critiques=[of_pictures, of_pictures, of_edits])
    edit = Prompt("2", "make it red", source=A)
    got = rational(["color"], "overall").grades(judge, [PROMPT, edit, PROMPT], [A, B, C], [None] * 3)
    assert [[name for name, *_ in grade.checks] for grade in got] == [["color"], ["kept"], ["color"]]
    assert [grade.value for grade in got] == [1.0, 0.0, 1.0]
    assert judge.asked_in == [["color"], ["kept"]]


# -- grades as verdicts -----------------------------------------------------------------------------------------------


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
