"""Both recipes, a few steps of each phase: they learn something, write folders that load, and resume to the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxKontextPipeline, FluxPipeline
from safetensors.torch import load_file
from torch.utils.data import Dataset
from transformers import AutoModelForImageTextToText

from arr_rpo.commands.runs.training import train
from arr_rpo.shapes.recipes.judge_lessons import Lessons
from arr_rpo.shapes.recipes.judge_parts import build_processor
from arr_rpo.shapes.recipes.policy import Steps
from arr_rpo.shapes.recipes.policy_parts import clip_tokenizer, words
from tests.conftest import configure

pytestmark = pytest.mark.slow
POLICY = [
    "experiment=shapes_policy",
    "module.scenes=64",
    "module.vae_steps=3",
    "module.text_steps=3",
    "module.flow_steps=3",
    "module.vae_batch_size=4",
    "module.text_batch_size=8",
    "module.flow_batch_size=8",
]
EDIT_POLICY = [
    "experiment=shapes_edit_policy",
    "module.start_from=src/arr_rpo/shapes/weights/policy",
    "module.pairs=16",
    "module.text_steps=3",
    "module.flow_steps=3",
    "module.text_batch_size=8",
    "module.flow_batch_size=8",
]
JUDGE = [
    "experiment=shapes_judge",
    "module.text_steps=2",
    "module.caption_steps=2",
    "module.steps=2",
    "module.drawn_groups=12",
    "module.sampled_groups=6",
    "module.drawn_edits=4",
    "module.sampled_edits=2",
    "module.pictured=0.5",
    "module.caption_batch_size=4",
    "module.single_batch_size=2",
    "module.pair_batch_size=6",
    "module.writing_batch_size=2",
]


def run(recipe: list[str], folder: Path, *more: str) -> None:
    quiet = ["trainer.enable_progress_bar=false", f"run_dir={folder}"]
    train(configure([*recipe, *quiet, *more]))


def _stopping(dataset: type[Dataset[Any]], stop_after: int) -> Callable[[Any, int], Any]:
    whole = dataset.__getitem__

    def item(self: Any, index: int) -> Any:
        if index >= stop_after:
            raise ConnectionAbortedError
        return whole(self, index)

    return item


def test_tokens_have_the_same_numbers_each_time() -> None:
    """Else a resumed recipe would find its embeddings permuted. Fresh processes hash differently; so do fresh trainers."""
    first, second = clip_tokenizer(words()), clip_tokenizer(words())
    assert first.get_vocab() == second.get_vocab()
    assert all(len(first(word, add_special_tokens=False).input_ids) == 1 for word in words())
    assert build_processor().tokenizer.get_vocab() == build_processor().tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("recipe", "weights", "stop_after"),
    [
        (POLICY, "policy/transformer/diffusion_pytorch_model.safetensors", 8),
        (EDIT_POLICY, "policy/transformer/diffusion_pytorch_model.safetensors", 5),
        (JUDGE, "judge/model.safetensors", 5),
    ],
)
def test_a_recipe_writes_its_folder_and_resumes_to_the_same_weights(
    recipe: list[str], weights: str, stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(ConnectionAbortedError):
        dataset = Lessons if recipe is JUDGE else Steps
        patch.setattr(dataset, "__getitem__", _stopping(dataset, stop_after))
        run(recipe, tmp_path / "stopped", "callbacks.checkpoint.every_seconds=0")
    run(recipe, tmp_path / "stopped", f"resume={tmp_path / 'stopped'}")
    whole, resumed = (load_file(tmp_path / name / weights) for name in ("whole", "stopped"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    if recipe is not JUDGE:
        pipeline = FluxPipeline if recipe is POLICY else FluxKontextPipeline
        assert pipeline.from_pretrained(tmp_path / "whole" / "policy", local_files_only=True).transformer is not None
    else:
        assert AutoModelForImageTextToText.from_pretrained(tmp_path / "whole" / "judge").config.model_type == "qwen3_vl"


def test_lessons_composed_by_workers_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a run was stopped while they were ahead of it."""
    run(JUDGE, tmp_path / "alone")
    helped = ["module.workers=2", "callbacks.checkpoint.every_seconds=0"]
    with monkeypatch.context() as patch, pytest.raises(ConnectionAbortedError):
        patch.setattr(Lessons, "__getitem__", _stopping(Lessons, 5))
        run(JUDGE, tmp_path / "helped", *helped)
    run(JUDGE, tmp_path / "helped", f"resume={tmp_path / 'helped'}")
    alone, resumed = (load_file(tmp_path / name / "judge" / "model.safetensors") for name in ("alone", "helped"))
    assert all(torch.equal(alone[key], resumed[key]) for key in alone)
