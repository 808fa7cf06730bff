"""The cost of a judge's answers: the shared path is cheap, and says the same."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from arr_rpo.shapes.world.questions import parse
from arr_rpo.types import UserError

FOLDER = Path(__file__).parents[2] / "experiments" / "judges"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("judge_cost")


def configure(*overrides: str) -> DictConfig:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose("judge_cost", overrides=list(overrides))


def cells(text: str, row: str) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {row} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.mark.slow
def test_eight_candidates_and_five_criteria_take_about_a_third_of_the_tokens(script: Any) -> None:
    text = script.report(configure("repeats=1"))
    tokens, share, _, difference, failed = cells(text, "batched, shared")
    naive = cells(text, "one call a question")
    assert float(share) == pytest.approx(int(tokens) / int(naive[0]), abs=1e-3)
    assert float(share) <= 0.36  # 0.337 with the fewest tokens; the tree is the one with the least work, padding included
    assert float(difference) <= 1e-4
    assert failed == naive[4] == "0"
    assert cells(text, "batched")[0] == naive[0]
    assert float(cells(text, "generated (ARR)")[0]) > 100


def test_the_candidates_differ_and_have_five_questions(script: Any) -> None:
    prompt, images, rubric = script.candidates(seed=1, count=8, size=64)
    assert prompt.text == "a photo of a red triangle below a blue star"
    assert len({image.tobytes() for image in images}) == 8
    assert {image.size for image in images} == {(64, 64)}
    assert len({parse(c.question) for c in rubric.criteria}) == 5


def test_only_local_judges_are_measured(script: Any) -> None:
    with pytest.raises(UserError, match="local"):
        script.report(configure("judge=random"))
