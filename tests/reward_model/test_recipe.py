"""The recipe learns a planted taste, stops, resumes, and its folder is a reward; frozen and with a LoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from PIL import Image
from safetensors.torch import load_file

from arr_rpo.commands.evaluate import bench
from arr_rpo.commands.runs.training import train
from arr_rpo.reward_model.recipe import Batches
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import Rows
from arr_rpo.types import Prompt
from tests.conftest import configure
from tests.integration.small import start
from tests.judge.local.twins import TWINS

pytestmark = pytest.mark.slow
TASTE = ["preferences@module.pairs=annotator_drawn", "module.pairs.annotator=ada", "module.pairs.chance=false"]
FEW = ["module.pairs.pairs=24", "module.steps=6", "module.measure_every=2", "module.batch_size=8", "module.hidden=8"]


def run(folder: Path, *more: str, experiment: str = "reward_model") -> dict[str, Any]:
    quiet = ["trainer.enable_progress_bar=false", f"run_dir={folder}", "trainer.accelerator=cpu"]
    train(configure([f"experiment={experiment}", *TASTE, *quiet, *more]))
    return json.loads((folder / "reward_model" / "reward_model.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_a_planted_taste_is_learned(tmp_path: Path) -> None:
    """On new pairs of new prompts, and where the pictures differ in the taste alone."""
    about = run(tmp_path / "run", "module.pairs.pairs=489")
    assert about["heldout"]["step"] < 1000  # stopped by what is held out
    asked = ["preferences=annotator_drawn", "preferences.annotator=ada", "preferences.chance=false", "preferences.ties=drop"]
    new = ["preferences.split=shapes/open_heldout", "preferences.pairs=400", "preferences.seed=5", "bench.progress=false"]
    scored = ["reward=reward_model", f"reward.protocol.checkpoint={tmp_path / 'run' / 'reward_model'}"]
    config = configure(
        ["task=judge", "judge=none", "rubric=none", *scored, *asked, *new, f"run_dir={tmp_path / 'bench'}"], "evaluate"
    )
    result = bench(config)
    accuracy, taste = result.overall["accuracy"], result.by_subset["taste"]["accuracy"]
    assert accuracy.low is not None
    assert accuracy.low > 0.6
    assert taste.low is not None
    assert taste.low > 0.5


def _stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *more: str, experiment: str) -> None:
    whole = Batches.__getitem__

    def item(self: Batches, step: int) -> list[int]:
        if step >= 4:
            raise ConnectionAbortedError
        return whole(self, step)

    with monkeypatch.context() as patch, pytest.raises(ConnectionAbortedError):
        patch.setattr(Batches, "__getitem__", item)
        run(tmp_path / "stopped", *FEW, *more, "callbacks.checkpoint.every_seconds=0", experiment=experiment)


@pytest.mark.parametrize("experiment", ["reward_model", "reward_model_lora"])
def test_it_resumes_to_the_same_weights(experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = run(tmp_path / "whole", *FEW, experiment=experiment)
    _stopped(tmp_path, monkeypatch, experiment=experiment)
    assert run(tmp_path / "stopped", *FEW, f"resume={tmp_path / 'stopped'}", experiment=experiment) == at_once
    names = ["head.safetensors", *(["adapter/adapter_model.safetensors"] if "lora" in experiment else [])]
    for name in names:
        whole, resumed = (load_file(tmp_path / folder / "reward_model" / name) for folder in ("whole", "stopped"))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    checkpoint = RunFolder(tmp_path / "stopped").checkpoint("last") / "state.ckpt"
    assert checkpoint.stat().st_size < 4_000_000  # the frozen model, of 6 MB, is not in it


def test_a_lora_learns_and_loads_again(tmp_path: Path) -> None:
    run(tmp_path, *FEW, "module.steps=20", experiment="reward_model_lora")
    adapter = load_file(tmp_path / "reward_model" / "adapter" / "adapter_model.safetensors")
    assert all(value.abs().max() > 0 for name, value in adapter.items() if "lora_B" in name)  # of text and eyes; it begins as 0
    overrides = ["experiment=t2i_rpo", "reward=reward_model", f"reward.protocol.checkpoint={tmp_path / 'reward_model'}"]
    scorer = instantiate(configure(overrides).reward).protocol
    pairs = instantiate(configure(["experiment=reward_model", *TASTE, "module.pairs.pairs=4"]).module.pairs)
    grades = scorer.score([p.prompt for p in pairs], [p.a for p in pairs])
    assert all(grade.value is not None for grade in grades)
    assert len({round(grade.value, 4) for grade in grades}) > 1


def test_a_run_is_rewarded_by_it_alone_and_beside_a_rubric(tmp_path: Path) -> None:
    run(tmp_path / "model", *FEW)
    given = f"protocol.checkpoint={tmp_path / 'model' / 'reward_model'}"
    alone = start(tmp_path / "alone", "reward=reward_model", f"reward.{given}", "data.updates=1")
    assert len({row["reward/mean"] for row in alone.rows(Rows.METRICS)}) == 1
    both = ["reward=rubric_and_reward_model", f"reward.parts.learned.reward.{given}", "rubric=per_prompt", "data.updates=1"]
    among = start(tmp_path / "among", *both, f"rubric.store={tmp_path / 'rubrics'}")
    [row] = among.rows(Rows.METRICS)
    assert row["reward/valid/learned"] == 1.0


@pytest.mark.parametrize("judge", list(TWINS))
@pytest.mark.parametrize("experiment", ["reward_model", "reward_model_lora"])
def test_other_models_too(judge: str, experiment: str, tmp_path: Path) -> None:
    """Tiny twins of Qwen's, asked as the large ones are: a folder is learned, loaded, and refused on another judge."""
    TWINS[judge](tmp_path / "vlm")
    model = [f"checkpoint={tmp_path / 'vlm'}", "dtype=float32", "device=cpu"]
    chosen = [f"judge@module.judge={judge}", *(f"module.judge.model.{one}" for one in model)]
    run(tmp_path / "run", *FEW, *chosen, "module.pictures_at_once=8", experiment=experiment)
    scored = ["experiment=t2i_rpo", "reward=reward_model", f"reward.protocol.checkpoint={tmp_path / 'run' / 'reward_model'}"]
    same = [f"judge@reward.protocol.judge={judge}", *(f"reward.protocol.judge.model.{one}" for one in model)]
    scorer = instantiate(configure([*scored, *same]).reward).protocol
    [grade] = scorer.score([Prompt("p", "a red star")], [Image.new("RGB", (32, 32))])
    assert grade.value is not None
    with pytest.raises(InstantiationException, match="learned on the features of another judge"):
        instantiate(configure(scored).reward)
