"""Pairs of published formats, end to end: a reward model and a weighted rubric from each. What the embedded judge makes of
them means nothing; that every step works does.

ImageReward's and EditReward's rows are the published ones where they are at hand, with pictures of ours in their places.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from PIL import Image

from arr_rpo.commands.rubrics import rubrics
from arr_rpo.commands.runs.training import train
from arr_rpo.types import UserError
from tests.conftest import configure

pytestmark = pytest.mark.slow
SHARED = Path(__file__).parents[3] / "shared" / "data"


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(path)


def imagereward(folder: Path) -> list[str]:
    rows = published(SHARED / "ImageReward" / "data" / "test.json", 4)
    for row in rows:
        for i, name in enumerate(row["generations"]):
            save(folder / name, i)
    return written(folder / "test.json", rows, "imagereward")


def editreward(folder: Path) -> list[str]:
    rows = published(SHARED / "EditReward" / "data" / "dataset" / "valid_dataset_1.json", 6)
    for number, row in enumerate(rows):
        for i, key in enumerate(("path_src", "path1", "path2")):
            save(folder / row[key], 3 * number + i)
    return written(folder / "valid.json", rows, "editreward_validation")


def hpdv3(folder: Path) -> list[str]:
    """Of our own making, with the published keys."""
    for i in range(12):
        save(folder / f"{i}.png", i)
    known = {"choice_dist": [4, 1], "confidence": 0.9}
    rows = [{**known, "prompt": f"a dog, number {i}", "path1": f"{2 * i}.png", "path2": f"{2 * i + 1}.png"} for i in range(6)]
    return written(folder / "train.json", rows, "hpdv3")


def jsonl(folder: Path) -> list[str]:
    for i in range(12):
        save(folder / f"{i}.png", i)
    labels = ("A", "B", "tie")
    rows = [{"prompt": f"cat {i}", "a": f"{2 * i}.png", "b": f"{2 * i + 1}.png", "better": labels[i % 3]} for i in range(6)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ["jsonl", str(folder / "pairs.jsonl")]


def published(path: Path, n: int) -> list[dict[str, Any]]:
    if not path.is_file():
        pytest.skip(f"no {path}")
    return list(json.loads(path.read_text(encoding="utf-8"))[:n])


def written(path: Path, rows: list[dict[str, Any]], reader: str) -> list[str]:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return [reader, str(path)]


@pytest.mark.parametrize("make", [imagereward, editreward, hpdv3, jsonl])
def test_end_to_end(make: Callable[[Path], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, path = make(tmp_path)
    monkeypatch.chdir(tmp_path)
    few = ["module.steps=4", "module.measure_every=2", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu"]
    source = [f"preferences@module.pairs={reader}", f"module.pairs.path={path}"]
    train(configure(["experiment=reward_model", *source, *few, f"run_dir={tmp_path / 'run'}"]))
    assert json.loads((tmp_path / "run" / "reward_model" / "reward_model.json").read_text(encoding="utf-8"))["pairs"] > 1
    named = [f"preferences@rubric.preferences={reader}", f"rubric.preferences.path={path}", "limit=1"]
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("rubrics", overrides=["judge=shapes", "rubric=global_weighted", "rubric.penalties=[0.0001]", *named])
    try:
        [rubric] = rubrics(config)
    except UserError as error:  # noise has no criterion that tells, and what is written of a real prompt may be none
        assert "global_weighted" in str(error)
    else:
        assert rubric is not None
        assert all(criterion.weight > 0 for criterion in rubric.criteria)
