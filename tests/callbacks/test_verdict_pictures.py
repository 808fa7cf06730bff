"""The sample of judged pairs: which pairs, which pictures, and what an oracle says of them, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from arr_rpo.callbacks.rubric_reward import JudgedUpdate, RubricReward
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.callbacks.verdict_pictures import VerdictPictures, judged_pairs
from arr_rpo.run.folder import RunFolder
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.world.scene import Thing, draw
from arr_rpo.types import Criterion, CriterionCheck, Outcome, Prompt, Rewards, Rollout, Rubric, Verdict
from tests.callbacks.doubles import trainer_with
from tests.callbacks.test_verdict_rows import GRADED, PAIRED, rollout

RED, BLUE = (draw((Thing(color, "circle", 16, 16, 6),)) for color in ("red", "blue"))
PROMPT = Prompt(
    "p/0", "a photo of a red circle", {"tag": "colors", "include": [{"class": "circle", "color": "red", "count": 1}]}
)
QUESTIONS = ("is there a red circle?", "is the horse brown?")


def callback(tmp_path: Path, **changes: Any) -> VerdictPictures:
    arguments: dict[str, Any] = {"every_n_updates": 10, "pairs": 3, "max_side": 64, "oracle": None}
    return VerdictPictures(**{**arguments, **changes})


def pair(*images: Image.Image, prompt: Prompt = PROMPT) -> Rollout:
    empty = torch.zeros(len(images), 1)
    return Rollout((prompt,), len(images), images, *[empty] * 4, (0,))


def verdict(outcome: Outcome) -> Rewards:
    checks = tuple(CriterionCheck("existence", question, 0.123456, 0.75) for question in QUESTIONS)
    rubric = Rubric((Criterion("existence", QUESTIONS[0]),))
    said = Verdict(outcome, 0.25, (0.5, 0.0), checks)
    return Rewards(torch.zeros(2), torch.ones(2, dtype=torch.bool), (said,), ((0, 1),), rubrics=(rubric,))


def sample(tmp_path: Path, update: int = 20) -> list[dict[str, Any]]:
    read: dict[str, Any] = json.loads((tmp_path / "verdict_pictures" / f"update_{update:05d}.json").read_text(encoding="utf-8"))
    assert read["update"] == update
    pairs: list[dict[str, Any]] = read["pairs"]
    return pairs


def test_the_first_verdicts_with_their_own_pictures(tmp_path: Path) -> None:
    callback(tmp_path).write(RunFolder(tmp_path), rollout(4, 2), PAIRED, 20)
    got = sample(tmp_path)
    assert [(p["prompt"], p["outcome"]) for p in got] == [("p0", "A"), ("p1", "tie"), ("p2", "inconsistent")]
    assert got[0]["checks"] == [["color", "is it red?", [0.75, 0.25]]]
    assert got[0]["p_a_by_order"] == [1.0, 0.8]
    assert got[0]["rubric"] == [{"name": "color", "question": "is it red?", "weight": 1.0}]
    assert got[0]["oracle"] is got[0]["source"] is None
    reds = [[Image.open(tmp_path / "verdict_pictures" / name).getpixel((1, 1)) for name in p["pictures"]] for p in got]
    assert reds == [[(0, 0, 0), (40, 0, 0)], [(80, 0, 0), (120, 0, 0)], [(160, 0, 0), (200, 0, 0)]]


def test_graded_neighbours_stand_together_and_the_last_of_an_odd_group_alone() -> None:
    first, second = judged_pairs(GRADED, 2)
    assert (first.rows, first.grades, first.outcome) == ((0, 1), (0.5, None), Outcome.FAILED)
    assert first.checks == (("color", "is it red?", (0.25, None)), ("shape", "is it round?", (0.75, None)))
    assert (second.rows, second.grades) == ((2, 3), (1.0, None))
    known = GRADED.grades[0], GRADED.grades[2], GRADED.grades[0]
    odd = list(judged_pairs(Rewards(torch.zeros(3), torch.ones(3), grades=known, rubrics=(None,)), 3))
    assert [(judged.rows, judged.outcome) for judged in odd] == [((0, 1), Outcome.B), ((2,), None)]


def test_the_oracle_answers_what_the_judge_was_asked_and_what_the_prompt_says(tmp_path: Path) -> None:
    callback(tmp_path, oracle=OracleJudge()).write(RunFolder(tmp_path), pair(BLUE, RED), verdict(Outcome.A), 20)
    (got,) = sample(tmp_path)
    assert got["oracle"]["outcome"] == "B"  # the judge said A
    assert [QUESTIONS[0], [False, True]] in got["oracle"]["criteria"]
    assert got["oracle"]["checks"] == [[False, True], [None, None]]  # nobody here knows horses
    assert got["checks"][0] == ["existence", QUESTIONS[0], [0.1235, 0.75]]


def test_a_prompt_that_the_oracle_knows_nothing_of_has_no_answer(tmp_path: Path) -> None:
    callback(tmp_path, oracle=OracleJudge()).write(
        RunFolder(tmp_path), pair(BLUE, RED, prompt=Prompt("x", "a horse")), verdict(Outcome.A), 20
    )
    assert sample(tmp_path)[0]["oracle"] is None


def test_large_pictures_are_scaled_down_and_the_source_is_kept(tmp_path: Path) -> None:
    edit = Prompt("x", "make it blue", source=Image.new("RGB", (40, 20), "red"))
    callback(tmp_path, max_side=64).write(
        RunFolder(tmp_path), pair(RED.resize((256, 128)), BLUE, prompt=edit), verdict(Outcome.B), 20
    )
    (got,) = sample(tmp_path)
    folder = tmp_path / "verdict_pictures"
    sizes = [Image.open(folder / name).size for name in [*got["pictures"], got["source"]]]
    assert sizes == [(64, 32), (32, 32), (40, 20)]


@pytest.mark.parametrize(
    ("update", "writes", "written"), [(20, True, True), (23, True, False), (29, True, True), (20, False, False)]
)
def test_when_it_writes(tmp_path: Path, update: int, writes: bool, written: bool) -> None:
    reward = RubricReward.__new__(RubricReward)
    reward.last = JudgedUpdate((made := rollout(4, 2)).prompts, made, PAIRED)
    trainer = trainer_with(tmp_path, reward, num_training_batches=30)
    RunRecords.of(trainer).folder.writes = writes
    state = torch.get_rng_state()
    callback(tmp_path).on_train_batch_end(trainer, None, None, (update, ()), 0)  # type: ignore[arg-type]
    assert (tmp_path / "verdict_pictures" / f"update_{update:05d}.json").exists() == written
    assert torch.equal(state, torch.get_rng_state())
