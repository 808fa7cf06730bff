"""The judge's seat, with doubles for judge, reward and module."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.reward.monotony import Monotony
from arr_rpo.run.folder import RunFolder
from arr_rpo.types import Cost, Grade, Outcome, Prompt, Rewards, Rubric, UserError, Verdict
from tests.callbacks.test_verdict_rows import GRADED, PAIRED, RUBRIC, rollout

JUDGE = SimpleNamespace(name="double")


class Reward:
    """Gives what it was told to, and remembers what it was asked with."""

    def __init__(self, rewards: Rewards, *, uses_rubric: bool = False) -> None:
        self.rewards, self.uses_rubric = rewards, uses_rubric

    def __call__(self, judge: Any, rollout: Any, rubrics: list[Rubric | None]) -> Rewards:
        self.judge, self.rubrics = judge, rubrics
        return self.rewards


class Source:
    def __init__(self) -> None:
        self.cost, self.asked = Cost(1, 1), []
        self.update: int | None = None
        self.updates: list[int | None] = []

    def rubrics(self, prompts: tuple[Prompt, ...], judge: Any) -> list[Rubric | None]:
        self.asked.append((prompts, judge))
        self.updates.append(self.update)
        self.cost += Cost(2, 30)
        return [RUBRIC, None]


def seat(folder: Path, reward: Reward, rubric: Any = None) -> RubricReward:
    callback = RubricReward(
        judge=JUDGE,  # type: ignore[arg-type]
        reward=reward, rubric=rubric, max_failure_rate=0.5, failure_window=2, max_curves=2,
        monotony=Monotony(after=64),
    )  # fmt: skip
    logged: dict[str, float] = {}
    callback._module = SimpleNamespace(note=logged.update, logged=logged)  # type: ignore[assignment]
    callback._folder = RunFolder(folder)
    return callback


def judged(callback: RubricReward, made: Any, update: int = 7) -> Rewards:
    """One update, from its start to its end."""
    callback.on_train_batch_start(None, None, (update, ()), update)  # type: ignore[arg-type]
    rewards = callback(made, made.prompts)
    callback.on_train_batch_end(None, None, None, (update, ()), update)  # type: ignore[arg-type]
    return rewards


def graded(*values: float | None) -> Rewards:
    grades = tuple(Grade(value, cost=Cost(1, 5), reason="" if value is not None else "silence") for value in values)
    valid = torch.tensor([value is not None for value in values])
    return Rewards(torch.zeros(len(values)), valid, grades=grades, rubrics=(None, None), cost=Cost(len(values), 0))


def test_grades_are_logged_written_and_counted(tmp_path: Path) -> None:
    callback = seat(tmp_path, Reward(GRADED))
    assert judged(callback, rollout(2, 2)) is GRADED
    assert callback._module.logged["criterion/shape"] == 0.75  # type: ignore[union-attr]
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["update"], line["kind"], line["value"]) for line in lines] == [
        (7, "grade", 0.5), (7, "grade", None), (7, "grade", 1.0), (7, "grade", None),
    ]  # fmt: skip
    assert callback.total.outcomes["failed"] == 2
    assert callback.total.images == 4


def test_verdicts_are_counted_by_outcome(tmp_path: Path) -> None:
    callback = seat(tmp_path, Reward(PAIRED))
    judged(callback, rollout(4, 2))
    judged(callback, rollout(4, 2))
    assert callback.total.outcomes == {"A": 2, "tie": 2, "inconsistent": 2, "failed": 2}
    restored = seat(tmp_path, Reward(PAIRED))
    restored.load_state_dict(callback.state_dict())
    assert (restored.total.outcomes, restored.total.images) == (callback.total.outcomes, 16)


def test_what_an_update_took_counts_when_it_is_done(tmp_path: Path) -> None:
    """A checkpoint that is asked for in the middle of it is of before it."""
    callback = seat(tmp_path, Reward(PAIRED))
    judged(callback, rollout(4, 2))
    before = callback.state_dict()
    callback.on_train_batch_start(None, None, (8, ()), 8)  # type: ignore[arg-type]
    assert callback.last is None
    callback(made := rollout(4, 2), made.prompts)
    assert callback.state_dict() == before
    assert callback.last is not None
    assert callback.last.own.clean_BD.numel() == 0  # its tensors do not stay
    callback.on_train_batch_end(None, None, None, (8, ()), 8)  # type: ignore[arg-type]
    assert callback.state_dict()["images"] == 2 * before["images"]


def test_a_source_knows_the_update_that_it_is_asked_for_and_none_between(tmp_path: Path) -> None:
    source, made = Source(), rollout(2, 2)
    callback = seat(tmp_path, Reward(graded(0.1, 0.2, 0.3, 0.4), uses_rubric=True), source)
    for update in (3, 4):
        judged(callback, made, update)
        assert source.update is None  # what is measured now sees whole rubrics
    assert source.updates == [3, 4]


def test_rubrics_are_asked_for_only_where_they_are_read_and_their_cost_counts(tmp_path: Path) -> None:
    reads, does_not = Reward(graded(0.1, 0.2, 0.3, 0.4), uses_rubric=True), Reward(graded(0.1, 0.2, 0.3, 0.4))
    source, made = Source(), rollout(2, 2)
    callback = seat(tmp_path, reads, source)
    judged(callback, made)
    assert source.asked == [(made.prompts, JUDGE)]
    assert (reads.judge, reads.rubrics) == (JUDGE, [RUBRIC, None])
    assert (callback.total.cost, callback.total.writing) == (Cost(4, 0), Cost(2, 30))
    callback = seat(tmp_path, does_not, Source())
    judged(callback, made)
    assert does_not.rubrics == [None, None]
    assert (callback.total.cost, callback.total.writing) == (Cost(4, 0), Cost())


def test_a_reward_that_reads_a_rubric_needs_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rubric=none"):
        seat(tmp_path, Reward(GRADED, uses_rubric=True))


def test_too_many_failed_grades_stop_the_run(tmp_path: Path) -> None:
    callback = seat(tmp_path, Reward(graded(None, None, None, 0.5)))
    judged(callback, rollout(2, 2))  # three in four, but the window holds two rollouts
    with pytest.raises(UserError, match=r"75%.*silence"):
        judged(callback, rollout(2, 2))


def test_a_judge_that_always_prefers_the_first_picture_stops_the_run(tmp_path: Path) -> None:
    flips = Rewards(
        torch.zeros(8),
        torch.zeros(8, dtype=torch.bool),
        verdicts=(Verdict(Outcome.INCONSISTENT, 0.5, (0.9, 0.1)),) * 4,
        verdict_rows=((0, 1), (2, 3), (4, 5), (6, 7)),
        rubrics=(None,) * 4,
    )
    callback = seat(tmp_path, Reward(flips))
    callback.monotony = Monotony(after=6)
    judged(callback, rollout(4, 2))
    with pytest.raises(UserError, match=r"nothing can be learned.*first 6 answers: the image that is shown first"):
        judged(callback, rollout(4, 2))


def test_equal_grades_are_named_and_left_to_the_guard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    callback = seat(tmp_path, Reward(graded(0.5, 0.5, 0.5, 0.5)))
    callback.monotony = Monotony(after=4)
    judged(callback, rollout(2, 2))
    assert "first 4 answers: the grade 0.500" in caplog.text


def test_failures_are_counted_by_reason(tmp_path: Path) -> None:
    callback = seat(tmp_path, Reward(PAIRED))
    judged(callback, rollout(4, 2))
    restored = seat(tmp_path, Reward(PAIRED))
    restored.load_state_dict(callback.state_dict())
    assert restored.total.reasons == {"empty": 1}


def test_failures_at_the_limit_do_not_stop_it(tmp_path: Path) -> None:
    callback = seat(tmp_path, Reward(graded(None, None, 0.2, 0.5)))
    for _ in range(3):
        judged(callback, rollout(2, 2))


def test_criteria_with_a_curve_are_bounded_and_stay_the_same(tmp_path: Path) -> None:
    """Judges name criteria freely: a curve for each would be thousands."""

    def named(*names: str) -> Rewards:
        checks = tuple((name, f"{name}?", 0.5) for name in names)
        return Rewards(torch.zeros(4), torch.ones(4, dtype=torch.bool), grades=(Grade(1.0, checks),) * 4, rubrics=(None, None))

    callback = seat(tmp_path, Reward(named("a")))
    for names in (("rare", "often", "often"), ("third", "often"), ("fourth",)):
        callback.reward.rewards = named(*names)
        judged(callback, rollout(2, 2))
    logged = callback._module.logged  # type: ignore[union-attr]
    assert {name for name in logged if name.startswith("criterion/")} == {"criterion/often", "criterion/rare", "criterion/mean"}
    again = seat(tmp_path, Reward(named("fourth")))
    again.load_state_dict(callback.state_dict())
    judged(again, rollout(2, 2))
    assert "criterion/fourth" not in again._module.logged  # type: ignore[union-attr]


def test_a_checkpoint_within_an_update_has_not_heard_it(tmp_path: Path) -> None:
    """A run that goes on from there hears the update's answers again, and would count them twice."""
    callback = seat(tmp_path, Reward(GRADED))
    before = callback.state_dict()
    callback.on_train_batch_start(None, None, (7, ()), 7)  # type: ignore[arg-type]
    made = rollout(2, 2)
    callback(made, made.prompts)
    assert callback.state_dict() == before
    callback.on_train_batch_end(None, None, None, (7, ()), 7)  # type: ignore[arg-type]
    after = callback.state_dict()
    assert after["curves"] and after["images"] == 4 and after["monotony"] != before["monotony"]
