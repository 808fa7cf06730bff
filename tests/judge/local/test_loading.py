"""Every way of loading answers; what cannot be loaded is said."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from arr_rpo.judge.local.loading import EMBEDDED
from arr_rpo.judge.local.qwen_processors import Qwen3VLProcessor, save_qwen3_vl
from arr_rpo.types import Criterion, Prompt, Rubric, UserError
from tests.conftest import configure
from tests.judge.local.asked import QUESTIONS, RED, WIDE, checks, probabilities
from tests.judge.local.twins import TWINS, make


@pytest.mark.parametrize("name", TWINS)
def test_the_yaml_makes_a_whole_judge(name: str, folders: dict[str, Path]) -> None:
    """In its own words: a verdict by a rubric, asked in both orders, and checks of single images."""
    own = [f"checkpoint={folders[name]}", "device=cpu", "dtype=float32", "min_choice_mass=0"]
    config = configure([f"judge={name}", "experiment=t2i_rpo", *(f"judge.model.{change}" for change in own)])
    judge = instantiate(config.judge)
    prompt, rubric = Prompt("1", "a red circle"), Rubric(tuple(Criterion(q, q) for q in QUESTIONS))
    [verdict] = judge.compare([prompt], [(RED, WIDE)], [rubric])
    [backwards] = judge.compare([prompt], [(WIDE, RED)], [rubric])
    assert verdict.p_a == pytest.approx(1 - backwards.p_a, abs=1e-4)
    assert [c.question for c in verdict.checks] == QUESTIONS
    assert verdict.cost.calls == 2
    first, second = judge.check([prompt] * 2, [RED, RED], QUESTIONS[:2])
    assert first.value != second.value
    assert second.cost.tokens < first.cost.tokens


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("load", ["int8", "nf4"])
def test_quantized_models_answer_nearly_the_same(name: str, load: str, folders: dict[str, Path]) -> None:
    whole, quantized = make(name, folders[name]), make(name, folders[name], f"load={load}")
    kinds = {type(module).__name__ for module in quantized.model.modules()}
    assert {"int8": "Linear8bitLt", "nf4": "Linear4bit"}[load] in kinds
    asked, forms = checks(described=False)
    expected, answers = probabilities(whole.fill(asked, forms)[0]), probabilities(quantized.fill(asked, forms)[0])
    difference = torch.tensor(expected) - torch.tensor(answers)
    assert 0 < difference.abs().mean() < 0.05
    plain = probabilities(make(name, folders[name], f"load={load}", "share_prefixes=false").fill(asked, forms)[0])
    assert answers == pytest.approx(plain, abs=2e-3)  # both round to few bits on the way
    assert len(quantized.generate(asked[:2], 3)[0]) == 2
    assert quantized.revision() != whole.revision()


@pytest.mark.parametrize("name", TWINS)
def test_bfloat16_answers_nearly_the_same(name: str, folders: dict[str, Path]) -> None:
    whole, half = make(name, folders[name]), make(name, folders[name], "dtype=bfloat16")
    assert half.model.dtype is torch.bfloat16
    asked, forms = checks(described=False)
    expected, answers = probabilities(whole.fill(asked, forms)[0]), probabilities(half.fill(asked, forms)[0])
    assert 0 < torch.tensor(answers).sub(torch.tensor(expected)).abs().mean() < 0.02


def test_quantization_without_bitsandbytes_is_refused(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "bitsandbytes" else find(name, *more))
    with pytest.raises(Exception, match="pip install bitsandbytes"):
        make("qwen3_vl", folders["qwen3_vl"], "load=nf4")


@pytest.mark.parametrize("change", ["load=int3", "answers=guessed", "dtype=float7"])
def test_unknown_settings_are_named(change: str, folders: dict[str, Path]) -> None:
    with pytest.raises(Exception, match=change.split("=")[1]):
        make("qwen3_vl", folders["qwen3_vl"], change)


def test_the_hub_s_own_layout_is_read(folders: dict[str, Path], tmp_path: Path) -> None:
    """Checkpoints on the hub have a preprocessor_config.json that names a class which needs torchvision."""
    folder = tmp_path / "hub"
    shutil.copytree(folders["qwen25_vl"], folder)
    settings = json.loads((folder / "processor_config.json").read_text())
    images = {**settings["image_processor"], "image_processor_type": "Qwen2VLImageProcessorFast"}
    (folder / "preprocessor_config.json").write_text(json.dumps({**images, "processor_class": "Qwen2_5_VLProcessor"}))
    (folder / "processor_config.json").unlink()
    model = make("qwen25_vl", folder)
    asked, forms = checks(described=False)
    expected = probabilities(make("qwen25_vl", folders["qwen25_vl"]).fill(asked, forms)[0])
    assert probabilities(model.fill(asked, forms)[0]) == pytest.approx(expected, abs=1e-6)


def test_a_model_that_takes_no_encoded_images_is_told_how(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("qwen25_vl", folders["qwen25_vl"], "share_prefixes=false")
    model.model.config.get_text_config().layer_types = ["sliding_attention"] * 3
    with pytest.raises(UserError, match="share_prefixes=false"):
        type(make("qwen25_vl", folders["qwen25_vl"]).prefill)(model.model, model.processor, "x", 1)


def test_a_revision_is_that_of_the_weights_wherever_they_lie(folders: dict[str, Path], tmp_path: Path) -> None:
    """Rubrics are kept under it: another folder or another number of threads must not have them written again."""
    shutil.copytree(folders["qwen3_vl"], tmp_path / "copy")
    here, copied = make("qwen3_vl", folders["qwen3_vl"]), make("qwen3_vl", tmp_path / "copy")
    assert copied.revision() == here.revision()
    next(copied.model.parameters()).view(-1)[0].add_(1e-3)
    assert copied.revision() != here.revision()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_no_traceback(folders: dict[str, Path]) -> None:
    with pytest.raises(Exception, match=r"judge\.model\.device=cpu"):
        make("qwen3_vl", folders["qwen3_vl"], "device=cuda")


def test_missing_weights_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=str(tmp_path)):
        make("qwen3_vl", tmp_path)


def test_the_embedded_judge_is_saved_as_it_ships(tmp_path: Path) -> None:
    """With a video processor, without which the stock processor, and so a server, does not load it."""
    shipped = EMBEDDED["shapes"] / "processor_config.json"
    save_qwen3_vl(Qwen3VLProcessor.from_pretrained(EMBEDDED["shapes"], local_files_only=True), tmp_path)
    assert (tmp_path / shipped.name).read_text() == shipped.read_text()
    assert "video_processor_type" in shipped.read_text()
