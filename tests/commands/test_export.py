"""`arr-rpo export`: the folder that is left to be uploaded, with its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file

from arr_rpo.commands.export import export
from arr_rpo.policy.loading import SHAPES_POLICY
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import Rows, State
from arr_rpo.types import UserError
from tests.conftest import configure, make_policy

BEFORE, AFTER = (True, False, False, False), (True, True, True, False)


def run_of(folder: Path, *, finished: bool = True, known: bool = True) -> RunFolder:
    """What a run of four held-out prompts leaves behind, with a checkpoint after 20 updates and one at its end, after 40."""
    run = RunFolder(folder)
    config = configure(
        ["experiment=t2i_rpo", f"run_dir={folder}", "policy.adapter.rank=4", "policy.adapter.target_modules=[to_q]"]
    )
    run.begin(OmegaConf.to_yaml(config), {"commands": ["python train.py experiment=t2i_rpo"], "commit": "abc123"}, 0)
    for update in (20, 40):
        run.save_checkpoint(update, lambda path: make_policy().adapter.save(path / "policy"), keep_every=20)
    for update, met in ((0, 0.0), (20, 1.0)):
        measured = {"shapes": {"value": met / 2, "figures": {}, "by_prompt": {"heldout/0": met, "heldout/1": 0.0}}}
        run.add(Rows.PROGRESS, update, [{"measures": measured if known else {}}])
    run.replace(Rows.HELDOUT, [row(run, n, known) for n in range(4)])
    if finished:
        judge = {"name": "shapes", "revision": "r1"}
        run.json("summary.json", {"judge": judge, "kl": 0.0123})
        run.say(State.FINISHED, 40)
    return run


def row(run: RunFolder, number: int, known: bool) -> dict[str, Any]:
    pictures = {
        kind: run.picture(f"heldout_pictures/{number}_{kind}.png", Image.new("RGB", (8, 8))) for kind in ("base", "trained")
    }
    met = [(float(some[number]), 0.5 + 0.5 * some[number]) for some in (BEFORE, AFTER)]
    figures = [{"shapes": {"value": value, "figures": {"criteria": share}}} if known else {} for value, share in met]
    named = {"prompt_id": f"heldout/{number}", "split": "heldout", "tag": "", "prompt": f"prompt | {number}"}
    return {**named, "before": figures[0], "after": figures[1], "pictures": pictures}


def exported(run: RunFolder, *overrides: str) -> Path:
    return export(configure([f"run={run.path}", *overrides], command="export"))


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    _, head, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), text


def test_a_card_says_what_the_weights_are_and_what_they_are_worth(tmp_path: Path) -> None:
    folder = exported(run_of(tmp_path / "run"), "format=comfyui", "license=mit")
    assert folder.name == "update_00040_comfyui"
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "lora_comfyui.safetensors", "pictures"}
    head, text = card_of(folder)
    assert head["base_model"] == "shapes"
    assert (head["base_model_relation"], head["license"], head["pipeline_tag"]) == ("adapter", "mit", "text-to-image")
    assert "| shapes | 0.250 | 0.750 | +0.500 (" in text  # 1 of 4, then 3 of 4
    assert "| shapes: criteria met | 0.625 | 0.875 | +0.250 (" in text
    assert "95% interval over prompts" in text
    for line in (
        "models/loras",
        "| judge | shapes, revision `r1` |",
        "    python train.py experiment=t2i_rpo",
        "abc123",
        "0.0123",
    ):
        assert line in text
    assert "| prompt \\| 2 | ![before](pictures/2_base.png) | ![after](pictures/2_trained.png) |" in text
    for line in text.splitlines():  # a picture that is shown is there
        for link in [part.split(")")[0] for part in line.split("](pictures/")[1:]]:
            assert (folder / "pictures" / link).is_file()


def test_a_checkpoint_on_the_way_has_the_measure_of_its_own(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    _, text = card_of(exported(run, "checkpoint=20"))
    assert "| shapes, 2 prompts on the way | 0.000 | 0.500 | +0.500" in text
    assert "after 20 updates" in text
    assert "![after]" not in text  # those pictures are of the end
    with pytest.raises(UserError, match="is there already"):
        exported(run, "checkpoint=20")


def test_what_was_not_measured_is_not_claimed(tmp_path: Path) -> None:
    head, text = card_of(exported(run_of(tmp_path / "run", known=False)))
    assert "Not measured: the run had no measure" in text
    assert "No licence was named at export" in text
    assert head["license"] == "other"
    assert "nats" in text
    _, text = card_of(exported(run_of(tmp_path / "stopped", finished=False)))
    assert "nats" not in text
    assert "![after]" not in text


def test_all_weights_are_no_lora(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.begin(OmegaConf.to_yaml(configure(["experiment=t2i_rpo", f"run_dir={run.path}", "policy/adapter=full"])), {}, 0)
    run.save_checkpoint(4, lambda path: (path / "state.ckpt").touch(), keep_every=None)
    with pytest.raises(UserError, match="format=peft writes a LoRA, and this run trained all weights"):
        exported(run, "format=peft")
    assert json.loads((run.path / "state.json").read_text())["state"] == "running"
    assert not (run.path / "exports").exists()


def test_pictures_of_others_lead_nowhere_else(tmp_path: Path) -> None:
    """A run that somebody sent names files of ours, or one that is gone: the card does without."""
    run, secret = run_of(tmp_path / "run"), tmp_path / "secret.png"
    secret.write_bytes(b"ours")
    rows = run.rows(Rows.HELDOUT)
    rows[0]["pictures"]["base"] = str(secret)
    rows[1]["pictures"]["trained"] = "../secret.png"
    (run.path / rows[2]["pictures"]["base"]).unlink()
    run.replace(Rows.HELDOUT, rows)
    folder = exported(run)
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["1_base.png", "3_base.png", "3_trained.png"]
    assert card_of(folder)[1].count("pictures/") == 2


def test_merged_takes_the_transformer_that_was_trained_on(tmp_path: Path) -> None:
    """One of a file of its own, and not the pipeline's."""
    weights = load_file(SHAPES_POLICY / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file({name: weight * 1.5 for name, weight in weights.items()}, tmp_path / "tuned.safetensors")
    own = ["policy/load=single_file", f"policy.load.transformer.file={tmp_path}/tuned.safetensors"]
    run, small = tmp_path / "run", ["policy.adapter.rank=4", "policy.adapter.target_modules=[to_q]"]
    config = configure(["experiment=t2i_rpo", f"run_dir={run}", *small, *own])
    folder = RunFolder(run)
    folder.begin(OmegaConf.to_yaml(config), {}, 0)
    folder.save_checkpoint(4, lambda path: instantiate(config.policy).adapter.save(path / "policy"), keep_every=None)
    merged = exported(folder, "format=merged") / "transformer"
    found = load_file(next(merged.glob("*.safetensors")))
    name = next(name for name in weights if "norm" not in name and weights[name].ndim == 2)
    assert torch.allclose(found[name].float(), weights[name].float() * 1.5, atol=1e-2)
