"""What is logged of verdicts and of grades, by hand."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from arr_rpo.callbacks.verdict_rows import failure_rate, failures, rates, reasons, records
from arr_rpo.types import Cost, Criterion, CriterionCheck, Grade, Outcome, Prompt, Reason, Rewards, Rollout, Rubric, Verdict

RUBRIC = Rubric((Criterion("color", "is it red?"),))


def rollout(prompts: int, group_size: int) -> Rollout:
    images = tuple(Image.new("RGB", (4, 4), (40 * i, 0, 0)) for i in range(prompts * group_size))
    empty = torch.zeros(len(images), 1)
    return Rollout(tuple(Prompt(f"id{i}", f"p{i}") for i in range(prompts)), group_size, images, *[empty] * 4, (0,))


PAIRED = Rewards(
    torch.tensor([1.0, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    torch.tensor([True, True, True, True] + [False] * 4),
    verdicts=(
        Verdict(Outcome.A, 0.9, (1.0, 0.8), (CriterionCheck("color", "is it red?", 0.75, 0.25),)),
        Verdict(Outcome.TIE, 0.5, (0.5, 0.5), (CriterionCheck("shape", "is it round?", 1.0, 0.8),)),
        Verdict(Outcome.INCONSISTENT, 0.5, (0.9, 0.1)),
        Verdict(Outcome.FAILED, None, cost=Cost(4, 40, 8, 1), reason="no answer", failure=Reason.EMPTY),
    ),
    verdict_rows=((0, 1), (2, 3), (4, 5), (6, 7)),
    rubrics=(RUBRIC, None, None, None),
    cost=Cost(4, 40, 8, 1),
)
GRADED = Rewards(
    torch.tensor([0.5, 0.0, 1.0, 0.0]),
    torch.tensor([True, False, True, False]),
    grades=(
        Grade(0.5, (("color", "is it red?", 0.25), ("shape", "is it round?", 0.75))),
        Grade(None, reason="mumbled", failure=Reason.NO_CHOICE),
        Grade(1.0, (("color", "is it red?", 0.75),), reason="it is well drawn"),
        Grade(None, reason="cut off", failure=Reason.CUT_OFF),
    ),
    rubrics=(None, RUBRIC),
)


def test_rates_of_verdicts() -> None:
    got = rates(PAIRED)
    assert got == {
        "judge/valid": 0.5,
        "reward/mean": pytest.approx(0.125),  # of the four that count
        "judge/decided": 0.25,
        "judge/first_wins": 0.25,
        "judge/tie_rate": 0.25,
        "judge/flip_rate": 0.25,
        "judge/failure_rate": 0.25,
        "judge/failed/empty": 0.25,
        "judge/dressed": 0.25,  # of the four calls
        "judge/thought_tokens": 8.0,
        "criterion/color": pytest.approx(0.5),
        "criterion/shape": pytest.approx(0.9),
        "criterion/mean": pytest.approx(0.7),
    }


def test_rates_of_grades() -> None:
    assert rates(GRADED) == {
        "judge/valid": 0.5,
        "reward/mean": 0.75,
        "judge/failure_rate": 0.5,
        "judge/failed/no_choice": 0.25,
        "judge/failed/cut_off": 0.25,
        "criterion/color": 0.5,
        "criterion/shape": 0.75,
        "criterion/mean": pytest.approx((0.25 + 0.75 + 0.75) / 3),
    }


def test_instruction_and_preservation_have_a_curve_each() -> None:
    """Over several questions of one name, by hand: (0.9 + 0.1) / 2 and (0.8 + 0.6 + 0.4 + 0.0) / 4."""
    checks = (
        CriterionCheck("instruction", "is there a red star in the upper left?", 0.9, 0.1),
        CriterionCheck("preservation", "is there a blue star in the lower left?", 0.8, 0.6),
        CriterionCheck("preservation", "are there exactly two objects in total?", 0.4, 0.0),
    )
    rewards = Rewards(torch.zeros(2), torch.tensor([True, True]), (Verdict(Outcome.A, 0.9, None, checks),), ((0, 1),))
    got = rates(rewards)
    assert got["criterion/instruction"] == pytest.approx(0.5)
    assert got["criterion/preservation"] == pytest.approx(0.45)


def test_failures_and_their_reasons() -> None:
    assert (failures(PAIRED), failure_rate(PAIRED), reasons(PAIRED)) == (1, 0.25, ["no answer"])
    assert (failures(GRADED), failure_rate(GRADED), reasons(GRADED)) == (2, 0.5, ["cut off", "mumbled"])
    unasked = Rewards(torch.zeros(2), torch.tensor([False, False]))
    assert (failures(unasked), failure_rate(unasked), reasons(unasked)) == (0, 1.0, [])


def test_a_record_a_verdict() -> None:
    first, *_, last = records(rollout(4, 2).prompts, 2, PAIRED)
    assert first == {
        "kind": "verdict",
        "prompt": "p0",
        "prompt_id": "id0",
        "rubric": [{"name": "color", "question": "is it red?", "weight": 1.0}],
        "candidates": [0, 1],
        "outcome": "A",
        "p_a": 0.9,
        "p_a_by_order": (1.0, 0.8),
        "checks": [["is it red?", 0.75, 0.25]],
        "names": ["color"],
        "reason": "",
        "failure": None,
    }
    assert (last["prompt"], last["outcome"], last["p_a"], last["reason"]) == ("p3", "failed", None, "no answer")


def test_a_record_a_grade_where_there_is_no_verdict() -> None:
    got = list(records(rollout(2, 2).prompts, 2, GRADED))
    assert [record["kind"] for record in got] == ["grade"] * 4
    assert [(r["prompt"], r["candidate"], r["value"]) for r in got] == [
        ("p0", 0, 0.5), ("p0", 1, None), ("p1", 0, 1.0), ("p1", 1, None),
    ]  # fmt: skip
    assert got[0]["checks"] == [["is it red?", 0.25], ["is it round?", 0.75]]
    assert got[0]["names"] == ["color", "shape"]
    assert got[0]["rubric"] is None
    assert got[3]["rubric"]
    assert [r["reason"] for r in got] == ["", "mumbled", "it is well drawn", "cut off"]
    assert [r["failure"] for r in got] == [None, "no_choice", None, "cut_off"]
