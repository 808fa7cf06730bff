"""Criteria without an answer are asked again, and then done without, where enough of the others are answered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from arr_rpo.judge.base import settle
from arr_rpo.reward.gaps import Gaps
from arr_rpo.reward.pair_protocols import Criteria
from arr_rpo.reward.point_protocols import Checklist
from arr_rpo.types import Answer, Cost, Criterion, Outcome, Prompt, Reason, Rubric, UserError, Verdict
from tests.judge.server.serving.models import make_judge, make_model
from tests.judge.server.serving.wire import Response, completion, serving

PROMPT = Prompt("p", "a red circle")
WEIGHED = Rubric((Criterion("a", "is it a?", 3.0), Criterion("b", "is it b?", 1.0), Criterion("c", "is it c?", 4.0)))
PICTURE = Image.new("RGB", (2, 2))


class Judge:
    """Has an answer from the n-th time on that a question is asked: `comes[question]`, 1 where nothing is said."""

    def __init__(self, comes: dict[str, int], reason: Reason = Reason.NOT_JSON) -> None:
        self.comes, self.reason, self.asked = comes, reason, list[str]()

    def _there(self, question: str) -> bool:
        self.asked.append(question)
        return self.asked.count(question) >= self.comes.get(question, 1)

    def check(self, prompts: Any, images: Any, questions: Sequence[str]) -> list[Answer]:
        return [
            Answer(0.5 if q == "is it a?" else 1.0, Cost(1, 10))
            if self._there(q)
            else Answer(None, Cost(1, 10), "mumbled", self.reason)
            for q in questions
        ]

    def compare(self, prompts: Any, pairs: Any, rubrics: Sequence[Rubric]) -> list[Verdict]:
        answers = []
        for rubric in rubrics:
            question = rubric.criteria[0].question
            if self._there(question):
                answers.append(
                    settle(0.9 if question == "is it a?" else 0.2, 0.9 if question == "is it a?" else 0.2, 0.1, (), Cost(2))
                )
            else:
                answers.append(Verdict(Outcome.FAILED, None, cost=Cost(2), reason="mumbled", failure=self.reason))
        return answers


def grade(judge: Judge, gaps: Gaps) -> Any:
    [found] = Checklist(gate="mean", fixed=None, tie_margin=0.0, gaps=gaps).grades(judge, [PROMPT], [PICTURE], [WEIGHED])  # type: ignore[arg-type]
    return found


def verdict(judge: Judge, gaps: Gaps) -> Verdict:
    protocol = Criteria(aggregate="mean", tie_margin=0.0, gaps=gaps)
    [found] = protocol.verdicts(judge, [PROMPT], [(PICTURE, PICTURE)], [WEIGHED])  # type: ignore[arg-type]
    return found


def test_what_comes_at_the_third_attempt_is_there() -> None:
    judge = Judge({"is it b?": 3})
    got = grade(judge, Gaps(ask_again=2, min_answered=1.0))
    assert got.value == pytest.approx((3 * 0.5 + 1 + 4) / 8)
    assert [name for name, *_ in got.checks] == ["a", "b", "c"]
    assert got.cost == Cost(5, 50)  # the attempts that failed are paid for
    assert judge.asked.count("is it a?") == 1


def test_enough_of_the_weight_will_do() -> None:
    got = grade(Judge({"is it c?": 9}), Gaps(ask_again=1, min_answered=0.5))  # 4 of 8 are answered
    assert got.value == pytest.approx((3 * 0.5 + 1) / 4)
    assert [name for name, *_ in got.checks] == ["a", "b"]
    assert got.failure is None
    got = verdict(Judge({"is it c?": 9}), Gaps(ask_again=1, min_answered=0.5))
    assert got.p_a == pytest.approx((3 * 0.9 + 0.2) / 4)


def test_too_little_of_it_is_no_grade() -> None:
    got = grade(Judge({"is it c?": 9}), Gaps(ask_again=0, min_answered=0.51))
    assert (got.value, got.reason, got.failure) == (None, "is it c? mumbled", Reason.NOT_JSON)
    failed = verdict(Judge({"is it c?": 9}), Gaps(ask_again=0, min_answered=0.51))
    assert (failed.outcome, failed.failure) == (Outcome.FAILED, Reason.NOT_JSON)


@pytest.mark.parametrize("reason", [Reason.CONTENT_FILTER, Reason.REFUSAL, Reason.TOO_LONG, Reason.UNKNOWN_QUESTION])
def test_what_would_be_refused_again_is_not_asked_again(reason: Reason) -> None:
    judge = Judge({"is it b?": 3}, reason)
    grade(judge, Gaps(ask_again=2, min_answered=0.5))
    assert judge.asked.count("is it b?") == 1


@pytest.mark.parametrize("changed", [{"ask_again": -1}, {"min_answered": 0.0}, {"min_answered": 1.5}])
def test_settings(changed: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(changed))):
        Gaps(**{"ask_again": 1, "min_answered": 0.5, **changed})


EIGHT = Rubric(tuple(Criterion(f"c{i}", f"is it so ({i})?") for i in range(8)))


@pytest.mark.parametrize(("gaps", "least", "most"), [(Gaps(0, 1.0), 0.15, 0.5), (Gaps(2, 0.5), 0.0, 0.02)])
def test_of_eight_criteria_with_one_fault_in_twenty(gaps: Gaps, least: float, most: float) -> None:
    """A server that mumbles one reply in twenty: 1 - 0.95^8 = 34% of the pictures are lost where nothing is done about it."""
    rng = random.Random(3)

    def answer(number: int, path: str, body: Any) -> Response:
        return completion("hm" if rng.random() < 0.05 else "yes")

    pictures = [Image.new("RGB", (2, 2), (i, 0, 0)) for i in range(100)]
    with serving(answer) as (url, _):
        judge = make_judge(make_model(url, concurrency=8), describe=False)
        protocol = Checklist(gate="mean", fixed=None, tie_margin=0.0, gaps=gaps)
        grades = protocol.grades(judge, [PROMPT] * 100, pictures, [EIGHT] * 100)
    lost = [g for g in grades if g.value is None]
    assert least <= len(lost) / 100 <= most
    assert all(g.value == 1.0 for g in grades if g.value is not None)
    assert {g.failure for g in lost} <= {Reason.NO_CHOICE}
