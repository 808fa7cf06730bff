"""Every configuration of the group `reward`, composed as a run would, on drawn pictures and the two control judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hydra.utils import instantiate

from arr_rpo.judge.rubric_reply import parse_rubric
from arr_rpo.shapes.world.general import DIMENSIONS, EDIT_DIMENSIONS, EDIT_GENERAL, GENERAL
from arr_rpo.shapes.world.prompts import describe, scene_of
from arr_rpo.shapes.world.scene import draw
from arr_rpo.types import Outcome, Prompt, Rewards, Rollout, Rubric
from tests.conftest import configure

ALL = {path.stem for path in (Path(__file__).parents[2] / "configs" / "reward").glob("*.yaml")}
OF_SCORERS = {
    "score",
    "clip",
    "ocr",
    "http",
    "combined",
    "rubric_and_score",
    "annotator",
    "reward_model",
    "reward_model_ensemble",
    "rubric_and_reward_model",
}
NAMES = sorted(ALL - OF_SCORERS)
WITHOUT_RUBRIC = {"scalar", "pairwise", "delta_rubric", "rational", "fixed_five"}


def one(shape: str, color: str, **more: Any) -> dict[str, Any]:
    return {"class": shape, "color": color, "count": 1, **more}


POSITION = {"tag": "position", "include": [one("square", "blue"), one("circle", "red", position=["left of", 0])]}
SWAPPED = {"tag": "position", "include": [one("square", "blue"), one("circle", "red", position=["right of", 0])]}
COUNTING = {"tag": "counting", "include": [{"class": "star", "color": "green", "count": 3}]}
TOO_FEW = {"tag": "counting", "include": [{"class": "star", "color": "green", "count": 2}]}


def rollout() -> Rollout:
    """Two prompts of two candidates each: right and wrong, then wrong and right."""
    rng = np.random.default_rng(3)
    images = tuple(draw(scene_of(metadata, rng)) for metadata in (POSITION, SWAPPED, TOO_FEW, COUNTING))
    prompts = tuple(Prompt(str(i), describe(m), m) for i, m in enumerate((POSITION, COUNTING)))
    return Rollout(prompts, 2, images, *[torch.zeros(4, 1)] * 4, ())


def rewarded(judge: str, *overrides: str) -> Rewards:
    config = configure(["experiment=t2i_rpo", f"judge={judge}", *overrides])
    reward, answering, made = instantiate(config.reward), instantiate(config.judge), rollout()
    reward.check_group_size(2)
    rubrics: list[Rubric | None] = [None, None]
    if reward.uses_rubric:
        rubrics = [parse_rubric(text, {}) for text in answering.writer.write(made.prompts)[0]]
    return reward(answering, made, rubrics)  # type: ignore[no-any-return]


def test_every_published_protocol_is_there() -> None:
    listed = {"scalar", "pairwise", "rubric", "rubric_paper", "criteria", "checklist", "checklist_gate", "delta_rubric"}
    assert set(NAMES) == listed | {"rational", "fixed_five"}


@pytest.mark.parametrize("name", NAMES)
def test_the_better_picture_gets_the_higher_reward(name: str) -> None:
    got = rewarded("oracle", f"reward={name}")
    first, second, third, fourth = got.values_B.tolist()
    assert first > second
    assert third < fourth
    assert got.valid_B.all()
    assert got.cost.calls > 0
    assert bool(got.verdicts) != bool(got.grades)


@pytest.mark.parametrize("name", NAMES)
def test_the_random_judge_plays_every_part(name: str) -> None:
    got = rewarded("random", f"reward={name}")
    decided = [v.outcome not in (Outcome.FAILED, Outcome.INCONSISTENT) for v in got.verdicts]
    assert got.valid_B.all()
    assert all(decided)
    assert len(set(got.values_B.tolist())) > 1
    assert (got.values_B.abs() <= 1).all()
    assert torch.equal(got.values_B, rewarded("random", f"reward={name}").values_B)  # a resumed run meets the same coin


@pytest.mark.parametrize("name", NAMES)
def test_only_what_reads_a_rubric_asks_for_one(name: str) -> None:
    reward = instantiate(configure(["experiment=t2i_rpo", f"reward={name}"]).reward)
    assert reward.uses_rubric == (name not in WITHOUT_RUBRIC)


def test_the_oracles_rewards_by_hand() -> None:
    expected = {
        "rubric": [1, -1, -1, 1],
        "rubric_paper": [1, -0.1, -0.1, 1],
        "scalar": [1, 0.75, 0, 1],  # three of four criteria; none of two
        "checklist": [1, 0.75, 0, 1],
        "checklist_gate": [1, 0, 0, 1],
        "fixed_five": [1, 0.8, 0.8, 1],  # the position; the number
        "rational": [1, 2 / 3, 0, 1],  # grades 4, 3, 1, 4
    }
    for name, values in expected.items():
        assert rewarded("oracle", f"reward={name}").values_B.tolist() == pytest.approx(values), name


def test_overrides_choose_the_aggregation() -> None:
    gate = rewarded("oracle", "reward=checklist", "reward.protocol.gate=all")
    assert gate.values_B.tolist() == [1, 0, 0, 1]
    # Of five dimensions in each: 4 of 5 perfect and one at its worst; three that apply, of which one at its worst.
    mean = rewarded("oracle", "reward=rational", "reward.protocol.value=mean")
    votes = rewarded("oracle", "reward=criteria", "reward.protocol.aggregate=votes")
    assert votes.values_B.tolist() == [1, -1, -1, 1]
    assert mean.values_B.tolist() == pytest.approx([1, 4 / 5, 3 / 4, 1])


def test_the_fixed_five_and_the_dimensions_are_those_that_the_embedded_judge_knows() -> None:
    fixed = instantiate(configure(["experiment=t2i_rpo", "reward=fixed_five"]).reward).protocol.fixed
    picture, edit = Prompt("1", "p"), Prompt("2", "p", source=PIL.Image.new("RGB", (8, 8)))
    of_pictures, of_edits = ({c.name: c.question for c in r.criteria} for r in fixed.rubrics([picture, edit], None))
    assert of_pictures == {name: GENERAL[name] for name in DIMENSIONS}
    assert of_edits == EDIT_GENERAL
    protocol = configure(["experiment=t2i_rpo", "reward=rational"]).reward.protocol
    assert tuple(protocol.dimensions) == DIMENSIONS
    assert tuple(protocol.edit_dimensions) == EDIT_DIMENSIONS


def test_pairs_can_be_decided_by_grades() -> None:
    got = rewarded("oracle", "reward=pairwise", "reward/protocol=score")
    assert got.values_B.tolist() == [1, -1, -1, 1]
    assert [v.p_a for v in got.verdicts] == pytest.approx([0.625, 0])  # grades 1 and 3/4, 0 and 1
