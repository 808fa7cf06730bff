"""Several rewards as one, by hand on small groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from arr_rpo.judge.asked_once import AskedOnce
from arr_rpo.judge.none import NoJudge
from arr_rpo.reward.combined import Combined
from arr_rpo.reward.gaps import Gaps
from arr_rpo.reward.joining import together
from arr_rpo.reward.point_protocols import Checklist
from arr_rpo.reward.pointwise import Pointwise
from arr_rpo.types import (
    Answer,
    Cost,
    Criterion,
    Critique,
    Grade,
    Outcome,
    Reason,
    Rewards,
    Rollout,
    Rubric,
    UserError,
    Verdict,
)
from tests.conftest import configure
from tests.reward.test_rewards import rollout

NONE: Any = NoJudge()


class Fixed:
    """Gives what it was told to."""

    uses_rubric = False

    def __init__(self, *values: float | None) -> None:
        self.values = values

    def check_group_size(self, group_size: int) -> None: ...

    def __call__(self, judge: Any, rollout: Rollout, rubrics: Sequence[Any]) -> Rewards:
        grades = tuple(Grade(value, cost=Cost(1, 2), reason="" if value is not None else "torn") for value in self.values)
        numbers = torch.tensor([0.0 if value is None else value for value in self.values])
        return Rewards(numbers, torch.tensor([v is not None for v in self.values]), grades=grades, cost=Cost(len(grades), 0))


def combined(missing: Any = "mask", normalise: bool = False, **parts: tuple[Any, ...]) -> Combined:
    """Parts as (values, weight, gate)."""
    given = {name: {"reward": Fixed(*values), "weight": weight, "gate": gate} for name, (values, weight, gate) in parts.items()}
    return Combined(parts=given, normalise=normalise, missing=missing)


def values(reward: Combined, groups: int = 1, size: int = 4) -> tuple[list[float], list[bool]]:
    made = reward(NONE, rollout(groups, size), [None] * groups)
    return made.values_B.tolist(), made.valid_B.tolist()


def test_a_weighted_sum() -> None:
    got, valid = values(combined(a=((1.0, 2.0, 3.0, 4.0), 2.0, None), b=((10.0, 0.0, 0.0, 0.0), 0.5, None)))
    assert (got, valid) == ([7.0, 4.0, 6.0, 8.0], [True] * 4)


def test_normalised_parts_count_alike_whatever_their_scale() -> None:
    """(1, 2, 3) has mean 2 and deviation sqrt(2/3), and so has the other, a thousand times as large; in the second group
    both are flat."""
    a, b = (1.0, 2.0, 3.0, 5.0, 5.0, 5.0), (3000.0, 2000.0, 1000.0, 7.0, 7.0, 7.0)
    got, _ = values(combined(normalise=True, a=(a, 1.0, None), b=(b, 1.0, None)), 2, 3)
    assert got == pytest.approx([0.0] * 6, abs=1e-3)  # they are each other's opposite
    got, _ = values(combined(normalise=True, a=(a, 1.0, None), b=(b, 3.0, None)), 2, 3)
    unit = (3 / 2) ** 0.5
    assert got == pytest.approx([2 * unit, 0.0, -2 * unit, 0.0, 0.0, 0.0], abs=1e-3)
    plain, _ = values(combined(a=(a, 1.0, None), b=(b, 1.0, None)), 2, 3)
    assert plain[0] > plain[1] > plain[2]  # the larger scale decides alone


def test_winning_by_two_rewards_is_more_than_by_one() -> None:
    """GDPO (arXiv 2601.05242, figure 2): two binary rewards, two candidates. Normalised as a sum, a group of 0 and 1 and one of
    0 and 2 would both be -1 and 1."""
    one, other = (0.0, 1.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0)
    got, _ = values(combined(normalise=True, one=(one, 1.0, None), other=(other, 1.0, None)), 2, 2)
    assert got == pytest.approx([-1.0, 1.0, -2.0, 2.0], abs=1e-3)


def test_a_missing_part_masks_or_is_shared_out() -> None:
    parts = {"a": ((1.0, None, 3.0, None), 1.0, None), "b": ((2.0, 2.0, None, None), 3.0, None)}
    assert values(combined("mask", **parts)) == ([7.0, 0.0, 0.0, 0.0], [True, False, False, False])
    assert values(combined("share", **parts)) == ([7.0, 8.0, 12.0, 0.0], [True, True, True, False])
    made = combined("mask", **parts)(NONE, rollout(1, 4), [None])
    assert [grade.reason for grade in made.grades] == [
        "",
        "no value of a: torn",
        "no value of b: torn",
        "no value of a, b: torn; torn",
    ]


def test_behind_a_gate_nothing_is_to_be_gained() -> None:
    """Candidates 1 and 2 do not pass: from b they get what the worst of their group got."""
    gated = {"a": ((1.0, 0.2, 0.4, 1.0), 0.0, 0.5), "b": ((5.0, 9.0, 2.0, 7.0), 1.0, None)}
    assert values(combined(**gated))[0] == [5.0, 2.0, 2.0, 7.0]
    gated["b"] = ((5.0, 9.0, 2.0, 7.0), -1.0, None)  # the higher, the worse
    assert values(combined(**gated))[0] == [-5.0, -9.0, -9.0, -7.0]
    gated["b"] = ((5.0, 9.0, 2.0, 7.0), 1.0, None)
    gated["a"] = ((1.0, 0.2, 0.4, 1.0), 10.0, 0.5)  # a gate may count as well
    assert values(combined(**gated))[0] == pytest.approx([15.0, 4.0, 6.0, 17.0])


def test_without_a_gates_value_there_is_no_reward() -> None:
    """Nobody knows that candidate 1 passes: that the judge failed on it is nothing to be gained by."""
    gated = {"a": ((1.0, None, 0.4, 1.0), 1.0, 0.5), "b": ((5.0, 9.0, 2.0, 7.0), 1.0, None)}
    assert values(combined("share", **gated)) == ([6.0, 0.0, pytest.approx(2.4), 8.0], [True, False, True, True])


def test_what_passes_one_gate_is_not_said_by_another() -> None:
    """Candidates 1 and 2 do not pass a, candidates 1 and 2 not b: at each gate by what they were given."""
    gated = {"a": ((0.9, 0.3, 0.7), 1.0, 0.5), "b": ((0.8, 0.6, 0.1), 1.0, 0.5)}
    assert values(combined(**gated), 1, 3)[0] == pytest.approx([0.9 + 0.8, 0.3 + 0.1, 0.3 + 0.1])
    turned = {"b": gated["b"], "a": gated["a"]}
    assert values(combined(**turned), 1, 3) == values(combined(**gated), 1, 3)


def test_cost_parts_and_groups_survive_the_joining_of_processes() -> None:
    reward = combined(a=((1.0, 2.0), 1.0, None), b=((0.0, 4.0), 1.0, None))
    one = reward(NONE, rollout(1, 2), [None])
    assert one.cost == Cost(4, 0)
    two = together([one, one], 2)
    assert two.parts["b"].values_B.tolist() == [0.0, 4.0, 0.0, 4.0]
    assert two.values_B.tolist() == [1.0, 6.0, 1.0, 6.0]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, "has no parts"),
        ({"a": {"reward": Fixed(1.0), "wieght": 1.0}}, "has no setting 'wieght'"),
        ({"a": {"weight": 1.0}}, "is no reward"),
        ({"a": {"reward": Fixed(1.0), "weight": 1.0}}, "lacks its gate"),
    ],
)
def test_what_the_user_can_mend(parts: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        Combined(parts=parts, normalise=True, missing="mask")
    with pytest.raises(UserError, match="is none of mask, share"):
        Combined(parts={"a": {"reward": Fixed(1.0), "weight": 1.0, "gate": None}}, normalise=True, missing="drop")  # type: ignore[arg-type]


class Counting:
    """Answers with the length of the question, and counts."""

    name, revision = "counting", "1"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def check(self, prompts: Any, images: Any, questions: Sequence[str]) -> list[Answer]:
        self.asked.append(list(questions))
        return [Answer(len(question) / 10, Cost(1, 3)) for question in questions]


def test_the_same_question_is_asked_once() -> None:
    judge, made = Counting(), rollout(1, 2)
    once: Any = AskedOnce(judge)  # type: ignore[arg-type]
    prompt, (a, b) = made.prompts[0], made.images
    first = once.check([prompt, prompt, prompt], [a, b, a], ["red?", "red?", "red?"])
    assert [answer.cost.calls for answer in first] == [1, 1, 0]
    again = once.check([prompt, prompt], [a, b], ["red?", "round?"])
    assert judge.asked == [["red?", "red?"], ["round?"]]
    assert [(answer.value, answer.cost.calls) for answer in again] == [(0.4, 0), (0.6, 1)]
    assert once.name == "counting"


class Critic(Counting):
    def compare(self, prompts: Any, pairs: Any, rubrics: Sequence[Any]) -> list[Verdict]:
        self.asked.append([rubric.criteria[0].name for rubric in rubrics])
        return [Verdict(Outcome.A, 0.9, cost=Cost(2, 6))] * len(rubrics)

    def critique(self, prompts: Any, images: Sequence[Any], dimensions: Sequence[str]) -> list[Critique]:
        self.asked.append([*dimensions] * len(images))
        return [Critique("fine", {}, 4.0, Cost(1, 3))] * len(images)


def test_a_rubric_of_the_same_criteria_and_a_critique_are_asked_once() -> None:
    judge, made = Critic(), rollout(1, 2)
    once: Any = AskedOnce(judge)  # type: ignore[arg-type]
    for _ in range(2):
        once.compare([made.prompts[0]], [made.images], [Rubric((Criterion("red", "red?"),))])
        once.critique(made.prompts, made.images[:1], ["craft"])
    once.critique(made.prompts, made.images[:1], ["content"])
    assert judge.asked == [["red"], ["craft"], ["content"]]


class FailsFirst:
    """Has no answer the first time."""

    name, revision = "fails first", "1"

    def __init__(self) -> None:
        self.asked = 0

    def check(self, prompts: Any, images: Any, questions: Sequence[str]) -> list[Answer]:
        self.asked += len(questions)
        failed = Answer(None, Cost(1, 3), reason="half a word", failure=Reason.CUT_OFF)
        return [failed if self.asked <= len(questions) else Answer(1.0, Cost(1, 3))] * len(questions)


def test_what_failed_is_asked_again() -> None:
    """A checklist asks again (`gaps.ask_again`), also as a part of several rewards."""
    judge, made = FailsFirst(), rollout(1, 2)
    gaps = Gaps(ask_again=2, min_answered=1.0)
    asks = Pointwise(protocol=Checklist(gate="mean", fixed=None, tie_margin=0.0, gaps=gaps))
    both = Combined(parts={"a": {"reward": asks, "weight": 1.0, "gate": None}}, normalise=False, missing="mask")
    rewards = both(judge, made, [Rubric((Criterion("red", "red?"),))])  # type: ignore[arg-type]
    assert rewards.valid_B.tolist() == [True, True]
    assert (judge.asked, rewards.cost.calls) == (4, 4)


def test_no_judge_says_who_asks() -> None:
    with pytest.raises(UserError, match=r"asks a judge \(compare\), and judge=none"):
        NONE.compare([], [], [])


def test_the_example_config_composes() -> None:
    config = configure(
        ["experiment=t2i_rpo", "reward=rubric_and_score", "reward.parts.score.reward.score=tests.scorer.functions.brightness"]
    )
    reward = instantiate(config.reward)
    assert list(reward.parts) == ["rubric", "score"]
    assert reward.uses_rubric
    assert reward.parts["score"].weight == 0.5


def test_a_part_that_fails_at_ten_percent_masks_so_many_or_shares_its_weight() -> None:
    """Of 40 groups of 8; who lacks nothing has the same reward in both ways."""
    rng = np.random.default_rng(3)
    sure = rng.uniform(size=320).tolist()
    torn = [None if rng.uniform() < 0.1 else value for value in rng.uniform(size=320)]
    failed = [value is None for value in torn]
    parts = {"sure": (tuple(sure), 1.0, None), "torn": (tuple(torn), 1.0, None)}
    got, valid = values(combined(**parts), 40, 8)
    assert valid == [not one for one in failed] and 20 < sum(failed) < 44
    shared, all_valid = values(combined(missing="share", **parts), 40, 8)
    assert all(all_valid)
    for row, lost in enumerate(failed):
        assert shared[row] == pytest.approx(2 * sure[row] if lost else got[row])
