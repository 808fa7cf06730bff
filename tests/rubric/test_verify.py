"""Verification, and that it does not let through what leaks the answer or names an accident."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from PIL.Image import Image

from arr_rpo.data.prompts import read_prompts
from arr_rpo.judge.base import Judge
from arr_rpo.rubric.verify import Rule, Verification, judged, recovered, verify_all
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.oracles.preferences import ShapesPreferences
from arr_rpo.shapes.world.questions import Question, questions_of
from arr_rpo.types import Cost, Outcome, Preference, Prompt, Rubric, Verdict
from tests.rubric.doubles import STRICT, ScriptedJudge, picture, preference, rubric_of

A, B, TIE, FLIP, FAILED = Outcome.A, Outcome.B, Outcome.TIE, Outcome.INCONSISTENT, Outcome.FAILED
ONE_ORDER = Rule(both_orders=False, min_heldout=0.0)
CIRCLE = Prompt("c", "a photo of a circle", {"tag": "single_object", "include": [{"class": "circle", "count": 1}]})


def said(outcome: Outcome, first: float = 0.5, second: float = 0.5) -> Verdict:
    return Verdict(outcome, None if outcome is FAILED else (first + second) / 2, (first, second), cost=Cost(2, 7))


@pytest.mark.parametrize(
    ("verdict", "better", "both", "one"),
    [
        (said(A, 0.9, 0.8), A, True, True),
        (said(A, 0.9, 0.8), B, False, False),
        (said(B, 0.1, 0.2), B, True, True),
        (said(FLIP, 0.9, 0.1), A, False, True),
        (said(FLIP, 0.9, 0.1), B, False, False),
        (said(A, 0.95, 0.45), A, False, True),  # the average says A, one order does not
        (said(TIE, 0.55, 0.52), A, False, True),
        (said(B, 0.5, 0.1), B, False, False),
        (Verdict(A, 1.0), A, True, True),
    ],
)
def test_what_recovers_a_preference(verdict: Verdict, better: Outcome, both: bool, one: bool) -> None:
    assert recovered(verdict, better, both_orders=True) is both
    assert recovered(verdict, better, both_orders=False) is one


RIGHT, WRONG, UNHEARD = said(A, 0.9, 0.9), said(B, 0.1, 0.1), said(FAILED)


@pytest.mark.parametrize(
    ("verdicts", "min_heldout", "passed"),
    [
        ([RIGHT, RIGHT, RIGHT], 1.0, True),
        ([RIGHT, RIGHT, WRONG], 1.0, False),
        ([RIGHT, RIGHT, WRONG], 0.5, True),
        ([WRONG, RIGHT, RIGHT], 0.5, False),
        ([RIGHT], 0.0, True),
        ([RIGHT], 0.5, False),  # nothing held out, nothing shown
        ([RIGHT, UNHEARD, RIGHT], 1.0, True),  # a failure is no miss
        ([RIGHT, UNHEARD, UNHEARD], 0.5, False),
        ([UNHEARD, RIGHT, RIGHT], 0.5, False),
        ([UNHEARD, UNHEARD], 0.0, False),
        ([RIGHT, RIGHT, UNHEARD, UNHEARD, UNHEARD], 0.75, False),  # one of four says nothing
        ([RIGHT, RIGHT, RIGHT, UNHEARD, UNHEARD], 0.75, True),
    ],
)
def test_the_rule(verdicts: Sequence[Verdict], min_heldout: float, passed: bool) -> None:
    found = judged(verdicts, [A] * len(verdicts), Rule(both_orders=True, min_heldout=min_heldout))
    assert found.passed is passed
    assert set(found.missed) == {i for i, v in enumerate(verdicts) if v is WRONG}
    assert set(found.answered) == {i for i, v in enumerate(verdicts) if v is not UNHEARD}
    assert found.cost == Cost(2 * len(verdicts), 7 * len(verdicts))


def test_each_rubric_is_tried_on_its_own_pairs() -> None:
    good, bad, other = picture("red circle"), picture("blue star"), picture("green square")
    pairs = [
        preference("1", CIRCLE, good, bad, "A"),
        preference("2", CIRCLE, other, good, "B"),
        preference("3", CIRCLE, bad, other, "A"),
    ]
    red, star = rubric_of("is there a red circle?"), rubric_of("is there a blue star?")
    first, none, second = verify_all(OracleJudge(), [red, red, star], [pairs[:2], [], pairs[::-1]], STRICT)
    assert [v.outcome for v in first.verdicts] == [A, B]
    assert first.passed
    assert none.heldout_accuracy is None
    assert [v.outcome for v in second.verdicts] == [A, TIE, B]
    assert second.missed == (1, 2)


# -- leaks ----------------------------------------------------------------------------------------------------------------


def obeys_places(rubric: Rubric, first: Image, second: Image) -> float:
    """A judge that takes "the first image is better" at its word, and answers all else as the oracle does."""
    if rubric.criteria[0].question == "is it the first image?":
        return 1.0
    [verdict] = OracleJudge().compare([CIRCLE], [(first, second)], [rubric])
    return 0.5 if verdict.p_a is None else verdict.p_a


def verify(judge: Judge, rubric: Rubric, pairs: Sequence[Preference], rule: Rule) -> Verification:
    return verify_all(judge, [rubric], [pairs], rule)[0]


PAIRS = [preference(str(i), CIRCLE, picture("red circle", seed=i), picture("red star", seed=i), "A") for i in range(4)]


def test_a_rubric_that_names_the_answer_passes_in_one_order_and_in_no_other_way() -> None:
    judge, leak = ScriptedJudge(obeys_places), rubric_of("is it the first image?")
    assert verify(judge, leak, PAIRS[:1], ONE_ORDER).passed  # the released code's rule
    both = verify(judge, leak, PAIRS[:1], Rule(both_orders=True, min_heldout=0.0))
    assert not both.passed
    assert both.verdicts[0].outcome is FLIP
    swapped = [PAIRS[0], *(Preference(p.id, p.prompt, p.b, p.a, B) for p in PAIRS[1:])]
    assert not verify(judge, leak, swapped, Rule(both_orders=False, min_heldout=0.5)).passed  # held-out pairs alone find it too
    honest = rubric_of("is there a circle?")
    assert verify(judge, honest, swapped, STRICT).passed


def test_a_rubric_that_names_an_accident_passes_on_its_own_pair_alone() -> None:
    """The prompt leaves the colour open; that the better circle was blue is an accident."""
    pairs = [
        preference("own", CIRCLE, picture("blue circle"), picture("yellow star"), "A"),
        preference("1", CIRCLE, picture("red circle"), picture("green star"), "A"),
        preference("2", CIRCLE, picture("blue circle", "blue star"), picture("green circle"), "B"),
    ]
    accident, honest = (
        rubric_of("is there a blue circle?"),
        rubric_of("is there a circle?", "is there exactly one object in total?"),
    )
    judge = OracleJudge()
    assert verify(judge, accident, pairs[:1], Rule(both_orders=True, min_heldout=0.0)).passed
    found = verify(judge, accident, pairs, Rule(both_orders=True, min_heldout=0.5))
    assert [v.outcome for v in found.verdicts] == [A, TIE, A]
    assert not found.passed
    assert verify(judge, honest, pairs, STRICT).passed


def test_accidents_of_drawn_pairs_hardly_ever_hold_on_others() -> None:
    """Of prompts that leave colours open, every accident that tells a writing pair apart, on six other pairs."""
    rubrics, pairs = [], []
    for prompt in (p for p in read_prompts("shapes/train") if p.metadata["tag"] in ("single_object", "two_object")):
        own, *heldout = ShapesPreferences.for_prompt(prompt, 7, 7)
        better, worse = (own.a, own.b) if own.better is A else (own.b, own.a)
        for thing in detection.detect(better):
            accident = Question("existence", thing.shape, thing.color)
            if accident.answer(detection.detect(better)) and not accident.answer(detection.detect(worse)):
                rubrics.append(rubric_of(str(accident)))
                pairs.append([own, *heldout])
    assert len(rubrics) >= 30
    judge = OracleJudge()
    alone = verify_all(judge, rubrics, [some[:1] for some in pairs], Rule(both_orders=True, min_heldout=0.0))
    tried = verify_all(judge, rubrics, pairs, Rule(both_orders=True, min_heldout=0.75))
    assert all(v.passed for v in alone)
    assert sum(v.passed for v in tried) / len(tried) <= 0.05
    own = [rubric_of(*map(str, questions_of(some[0].prompt.metadata))) for some in pairs]
    assert all(v.passed for v in verify_all(judge, own, pairs, STRICT))


def test_a_judge_is_shown_no_label() -> None:
    """What the judge is asked is the same whichever image is preferred."""
    seen: list[object] = []

    class Recording(OracleJudge):
        def compare(self, *asked: object) -> list[Verdict]:  # type: ignore[override]
            seen.append(asked)
            return super().compare(*asked)  # type: ignore[arg-type]

    turned = [Preference(p.id, p.prompt, p.a, p.b, B) for p in PAIRS]
    for pairs in (PAIRS, turned):
        verify(Recording(), rubric_of("is there a circle?"), pairs, STRICT)
    assert seen[0] == seen[1]
    assert len(seen) == 2
