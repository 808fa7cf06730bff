"""A judge that says the same of everything, as long as it does."""

from __future__ import annotations

import pytest

from arr_rpo.judge.base import settle
from arr_rpo.reward.monotony import Monotony
from arr_rpo.types import Cost, CriterionCheck, Grade, Outcome, Reason, UserError, Verdict

FAILED = Verdict(Outcome.FAILED, None, reason="mumbled", failure=Reason.NOT_JSON)
YES = (CriterionCheck("c", "is it?", 0.9, 0.8),)


def said(*p: float, checks: tuple[CriterionCheck, ...] = ()) -> Verdict:
    return settle(p[0], p[1], 0.1, checks, Cost())


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([said(0.9, 0.2)] * 3, "shown first is the better one"),
        ([said(0.1, 0.7)] * 3, "shown second is the better one"),
        ([said(0.5, 0.5)] * 3, "a tie"),
        ([said(0.5, 0.52, checks=YES)] * 3, "a tie, with yes to every question"),
        ([said(0.9, 0.8)] * 3, "A is better"),
        ([Grade(0.75)] * 3, "the grade 0.750"),
        ([FAILED] * 3, "no answer, 3 of them for the reason not_json (to mend it: hold the judge to the form"),
        ([FAILED, Grade(None, failure=Reason.REFUSAL), FAILED], "no answer, 2 of them for the reason not_json"),
        ([Grade(None, reason="hm")] * 3, "no answer, 3 of them for the reason unnamed"),
    ],
)
def test_what_it_does(answers: list[Verdict | Grade], words: str) -> None:
    watch = Monotony(after=3)
    assert watch.heard(answers[:2]) is None
    told = watch.heard(answers[2:])
    assert told is not None
    assert words in told
    assert watch.failing == ("no answer" in words)
    assert watch.heard(answers) is None  # it is said once


def test_one_other_answer_ends_the_watch() -> None:
    watch = Monotony(after=3)
    assert Monotony(after=3).heard([Grade(0.5001), Grade(0.5004), Grade(0.5001)]) is None  # fine grades are no single one
    assert watch.heard([said(0.9, 0.2), said(0.9, 0.8), said(0.9, 0.2)]) is None
    assert watch.heard([said(0.9, 0.2)] * 5) is None
    assert watch.so_far is None


def test_what_was_said_so_far() -> None:
    watch = Monotony(after=99)
    assert watch.so_far is None
    watch.heard([FAILED])
    assert "first 1 answers" in str(watch.so_far)


def test_a_run_that_goes_on_has_heard_what_was_said_before() -> None:
    """Else its first answers alone, all of one kind by chance, would end it."""
    heard, silent = Monotony(after=4), Monotony(after=4)
    heard.heard([said(0.9, 0.2), said(0.9, 0.8)])  # two kinds
    silent.heard([Grade(None, reason="down", failure=Reason.UNREACHABLE)] * 3)
    again, still = Monotony(after=4), Monotony(after=4)
    again.load_state_dict(heard.state_dict())
    still.load_state_dict(silent.state_dict())
    assert again.heard([said(0.9, 0.2)] * 9) is None
    assert "all of the first 4 answers: no answer, 4 of them for the reason unreachable" in str(
        still.heard([Grade(None, reason="down", failure=Reason.UNREACHABLE)])
    )


def test_settings() -> None:
    with pytest.raises(UserError, match="after=0"):
        Monotony(after=0)
