"""Groups are judged while others are drawn: the same rewards, in less time, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from arr_rpo.callbacks.judging_ahead import JudgingAhead
from arr_rpo.reward.joining import together
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.types import Grade, Rewards, Rollout
from tests.callbacks.test_verdict_rows import RUBRIC, rollout
from tests.integration.small import start


def graded(part: Rollout, rubrics: Sequence[Any]) -> Rewards:
    """By the red of a picture's first pixel; 255 where its prompt has a rubric."""
    values = []
    for row, image in enumerate(part.images):
        red = image.getpixel((0, 0))[0]  # type: ignore[index]
        values.append(255.0 if rubrics[row // part.group_size] else float(red))
    return Rewards(
        torch.tensor(values),
        torch.ones(len(values), dtype=torch.bool),
        grades=tuple(map(Grade, values)),
        rubrics=tuple(rubrics),
    )


def test_whole_groups_in_their_order_whatever_comes_at_once() -> None:
    made, asked = rollout(5, 2), []

    def reward(part: Rollout, rubrics: Sequence[Any]) -> Rewards:
        asked.append([prompt.id for prompt in part.prompts])
        return graded(part, rubrics)

    rubrics = [None, RUBRIC, None, None, None]
    ahead = JudgingAhead(reward, made.prompts, rubrics, 2)
    for some in (slice(0, 1), slice(1, 5), slice(5, 6), slice(6, 10)):  # a call's pictures end in the middle of groups
        ahead.drawn(made.images[some])
    got = ahead.rewards()
    assert asked == [["id0", "id1"], ["id2"], ["id3", "id4"]]
    whole = together([graded(made, rubrics)], 2)
    assert got.values_B.tolist() == whole.values_B.tolist()
    assert (got.grades, got.rubrics) == (whole.grades, whole.rubrics)


def test_it_does_not_wait_for_the_pictures_that_are_still_to_come() -> None:
    """Nor do they wait for it: the first group is judged until the third is drawn."""
    made, begun, third = rollout(3, 2), threading.Event(), threading.Event()

    def slow(part: Rollout, rubrics: Sequence[Any]) -> Rewards:
        begun.set()
        assert third.wait(20)
        return graded(part, rubrics)

    ahead = JudgingAhead(slow, made.prompts, [None] * 3, 2)
    ahead.drawn(made.images[:2])
    assert begun.wait(20)
    ahead.drawn(made.images[2:4])
    ahead.drawn(made.images[4:])
    third.set()
    assert len(ahead.rewards().grades) == 6


def test_what_judging_raises_is_raised_at_the_end_and_no_thread_stays() -> None:
    made, before = rollout(2, 2), threading.active_count()

    def torn(part: Rollout, rubrics: Sequence[Any]) -> Rewards:
        raise OSError("the cable is out")

    ahead = JudgingAhead(torn, made.prompts, [None] * 2, 2)
    ahead.drawn(made.images)
    with pytest.raises(OSError, match="the cable is out"):
        ahead.rewards()
    given_up = JudgingAhead(graded, made.prompts, [None] * 2, 2)
    given_up.drawn(made.images[:2])
    given_up.drop()
    assert threading.active_count() == before


class Elsewhere(OracleJudge):
    """The oracle, on a machine of its own."""

    elsewhere = True


@pytest.mark.slow
def test_a_run_comes_to_the_same_weights(tmp_path: Path) -> None:
    found = []
    for name, judge in (("here", "arr_rpo.shapes.oracles.judge.OracleJudge"), ("there", f"{__name__}.Elsewhere")):
        how = (
            "judge=oracle",
            f"judge._target_={judge}",
            "rubric=per_prompt",
            f"rubric.store={tmp_path}/rubrics",
            "reward=rubric",
        )
        run = start(tmp_path / name, *how, "policy.batch_size=3", "data.updates=2")
        assert run.finished()
        (file,) = (run.path / "policy").glob("*.safetensors")
        found.append((load_file(file), (run.path / "verdicts.jsonl").read_text(encoding="utf-8")))
    (here, said), (there, said_there) = found
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert said == said_there


def test_what_is_being_asked_is_given_up_and_not_waited_for() -> None:
    made, begun, ended = rollout(2, 2), threading.Event(), threading.Event()

    asked: list[bool] = []

    def slow(part: Rollout, rubrics: Sequence[Any]) -> Rewards:
        for _ in range(2):  # as to describe and then to answer: each is given up by itself
            begun.set()
            asked.append(ended.wait(20))
            ended.clear()
        raise CancelledError

    ahead = JudgingAhead(slow, made.prompts, [None] * 2, 2)
    ahead.drawn(made.images[:2])
    assert begun.wait(20)
    ahead.drawn(made.images[2:])  # waits its turn, and is never asked
    ahead.drop(ended.set)
    assert asked == [True, True]
