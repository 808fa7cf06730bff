"""How far a reward can be trusted before anything is trained."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image

from arr_rpo.commands.runs.best_of_n import best_of_n
from arr_rpo.evaluation.best_of_n import expected_best, figures, graded, put_below, sheet
from arr_rpo.evaluation.bootstrap import Resampling
from arr_rpo.judge.base import Answer
from arr_rpo.measure.base import Measure, Value
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.types import Prompt, Rewards, Rollout, UserError

HOW = Resampling(draws=200, confidence=0.95, unit="prompt", seed=0)
PROMPTS = [Prompt(f"p/{n}", "a grey square", {}) for n in range(6)]
N = 4


@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_is_the_mean_over_all_choices(n: int) -> None:
    proxy, gold = np.array([0.1, 0.9, 0.5, 0.7]), np.array([0.4, 0.0, 1.0, 0.6])
    choices = [gold[max(some, key=lambda k: proxy[k])] for some in itertools.combinations(range(4), n)]
    assert expected_best(n, proxy, gold) == pytest.approx(np.mean(choices))


def test_equals_are_taken_alike() -> None:
    assert expected_best(2, np.array([1.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])) == pytest.approx(0.5)


class Shades:
    """Draws in a shade of its own each time; the k-th of a prompt's pictures is the k-th lightest."""

    def generate(self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[Any, ...]]) -> list[Image.Image]:
        return [Image.new("RGB", (4, 4), (40 * k,) * 3) for _, k in keys]


class Lightness(Measure):
    """sign: whether light is liked."""

    def __init__(self, sign: float, silent: int | None = None) -> None:
        self.sign, self.silent = sign, silent

    def values(self, prompts: Sequence[Prompt], images: Sequence[Image.Image], base: Any) -> list[Value]:
        shades = [image.getpixel((0, 0))[0] / 40 for image in images]  # type: ignore[index]
        return [Value(None if self.silent == row // N else self.sign * shade) for row, shade in enumerate(shades)]


def light(rollout: Rollout, silent: int | None = None) -> Rewards:
    """Pays for light pictures."""
    values = torch.tensor([float(image.getpixel((0, 0))[0]) for image in rollout.images])  # type: ignore[index]
    valid = torch.ones(len(values), dtype=torch.bool)
    if silent is not None:
        valid[silent] = False
    return Rewards(values, valid)


def test_a_measure_that_falls_as_the_reward_chooses_says_so() -> None:
    found = graded(
        Shades(), light, {"likes": Lightness(1.0), "hates": Lightness(-1.0)}, PROMPTS, N, seed=1, shown={"p/1", "p/4"}
    )
    result = figures(found, HOW)
    assert [row["n"] for row in result["rows"]] == [1, 2, 4]
    assert [row["kl"] for row in result["rows"]] == pytest.approx([0.0, math.log(2) - 0.5, math.log(4) - 0.75])
    likes = [row["measures"]["likes"]["value"] for row in result["rows"]]
    assert likes == pytest.approx([1.5, 14 / 6, 3.0])  # the greater of two of 0, 1, 2, 3
    assert result["last_doubling"]["hates"]["high"] < 0 < result["last_doubling"]["likes"]["low"]
    assert result["most"]["hates"]["value"] == 0.0  # the darkest
    assert result["rows"][-1]["proxy"] == 0.875 and result["rows"][0]["proxy"] == 0.5
    assert sheet(found).height == sheet(found[:2]).height * 2  # of those that are shown
    assert result["tied"] == 0.0


def test_what_has_no_reward_or_no_value_is_left_out_and_counted() -> None:
    found = graded(Shades(), lambda rollout: light(rollout, silent=0), {"likes": Lightness(1.0, silent=1)}, PROMPTS, N, seed=1)
    result = figures(found, HOW)
    assert (result["without_reward"], result["without"]) == (1, {"likes": 1})
    assert result["rows"][-1]["measures"]["likes"] == {"value": 3.0, "low": 3.0, "high": 3.0, "of": 4}
    with pytest.raises(UserError, match="no prompt had all of its pictures graded"):
        figures(graded(Shades(), lambda rollout: light(rollout, silent=0), {}, PROMPTS[:1], N, seed=1), HOW)


def composed(*overrides: str) -> Any:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose("evaluate", overrides=["task=best_of_n", "run_dir=nowhere", "progress=false", *overrides])


def test_the_command_on_the_embedded_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["limit=2", "pictures=4", "policy.num_inference_steps=3", f"run_dir={tmp_path}", f"rubric.store={tmp_path}/rubrics"]
    result = best_of_n(composed(*small, "measure=[shapes]"))
    assert result == json.loads((tmp_path / "best_of_n.json").read_text(encoding="utf-8"))
    assert result["prompts"] == 2 and result["rows"][-1]["n"] == 4 and result["without_reward"] == 0
    assert Image.open(tmp_path / "best_of_n.png").width > 128
    told = capsys.readouterr().out
    assert "last doubling" in told and "best by the measure" in told
    rows = [json.loads(line) for line in (tmp_path / "pictures.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len(row["reward"]) for row in rows] == [4, 4] and set(rows[0]["measures"]) == {"shapes"}
    with pytest.raises(UserError, match="is not empty: give a folder of its own"):
        best_of_n(composed(*small, "measure=[shapes]"))


def test_rewards_by_verdicts_choose_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["limit=2", "pictures=4", "policy.num_inference_steps=3", f"run_dir={tmp_path}", "sheet=0"]
    small.append("policy.release_text_encoders=true")  # prompts are encoded before the first picture
    result = best_of_n(composed(*small, "reward=pairwise", "rubric=none", "judge=oracle"))
    assert result["rows"][-1]["n"] == 4 and not (tmp_path / "best_of_n.png").exists()
    assert result["tied"] == 1.0 and "reward/pairing=round_robin" in capsys.readouterr().out  # two winners of two matches


def test_a_judge_that_answers_nothing_ends_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        OracleJudge, "check", lambda self, prompts, images, questions: [Answer(None, reason="no")] * len(images)
    )
    small = ["limit=4", "pictures=2", "batch_size=2", "policy.num_inference_steps=3", f"run_dir={tmp_path}"]
    with pytest.raises(UserError, match="none of the first 2 prompts had all of its pictures graded"):
        best_of_n(composed(*small, "judge=oracle", f"rubric.store={tmp_path.parent}/rubrics_of_nobody"))
    assert len((tmp_path / "pictures.jsonl").read_text(encoding="utf-8").splitlines()) == 2  # nothing is lost


def test_a_second_judge_compares_with_the_first_picture(tmp_path: Path) -> None:
    """As a measure of prompts of the real world; the choice of a judge is measured by itself, too."""
    small = ["limit=2", "pictures=4", "policy.num_inference_steps=3", f"run_dir={tmp_path}", f"rubric.store={tmp_path}/rubrics"]
    second = ["measure=[heldout_judge,win_rate]", "judge@measure.heldout_judge.judge=oracle"]
    result = best_of_n(composed(*small, *second, "judge=oracle"))
    first, *_, last = (row["measures"]["win_rate"]["value"] for row in result["rows"])
    assert last >= first and last >= 0.5  # by the oracle that chose: no picture is before the one that it puts first
    assert set(result["most"]) == {"heldout_judge", "win_rate"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["pictures=6"], "pictures=6: a power of two"),
        (["rubric=none"], "this reward reads a rubric and rubric=none"),
        (["measure=[none]"], "nothing to measure the choice by"),
        (["limit=0"], "limit=0: one prompt is the least"),
    ],
)
def test_what_does_not_fit_is_named(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words.replace("[", r"\[")):
        best_of_n(composed(*overrides))


def test_a_rank_is_half_in_the_mean() -> None:
    assert put_below(np.array([0.1, 0.4, 0.4, 0.9])).tolist() == [0.125, 0.5, 0.5, 0.875]
