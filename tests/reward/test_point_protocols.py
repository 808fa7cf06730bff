"""Each way of asking about one picture; expected values by hand."""

from __future__ import annotations

import dataclasses

import pytest

from arr_rpo.reward.point_protocols import Checklist, Rational, Score
from arr_rpo.types import (
    Answer,
    Cost,
    Criterion,
    Critique,
    Grade,
    Prompt,
    Rubric,
)
from tests.reward.doubles import BOTH, PROMPT, STRICT, A, B, C, Scripted


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
