"""`arr-rpo generate`: drawn by the embedded policies, gone on with after a kill, and checked from the command line."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from arr_rpo.benchmark.manifest import folder_digest
from arr_rpo.commands.generate import check, generate, place
from arr_rpo.commands.runs.finished import with_policy_of_run
from arr_rpo.types import Prompt, UserError
from tests import warm
from tests.benchmark import made
from tests.conftest import configure, make_policy, small_lora

ROOT = Path(__file__).parents[2]


def config_of(output: Path, *overrides: str) -> DictConfig:
    return configure([f"output={output}", "progress=false", *overrides], command="generate")


def test_the_embedded_policy_draws_from_the_noise_of_seed_prompt_and_sample(tmp_path: Path) -> None:
    prompts = made.geneval(tmp_path)
    config = config_of(tmp_path / "out", "benchmark=geneval", f"prompts={prompts}", "policy=shapes", "limit=2", "seed=4")
    generate(config)
    assert check(config) == []
    policy = make_policy(num_inference_steps=8)
    for number in range(2):
        prompt = Prompt(str(number), made.TEXTS[number])
        expected = policy.generate([prompt] * 4, 4, [(str(number), sample) for sample in range(4)])
        for sample, picture in enumerate(expected):
            with Image.open(tmp_path / f"out/arr_rpo/0000{number}/samples/000{sample}.png") as drawn:
                np.testing.assert_allclose(np.asarray(drawn, float), np.asarray(picture, float), atol=1)
    said = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (said["benchmark"], said["policy"]["checkpoint"], said["seed"], said["weights"]) == ("geneval", "shapes", 4, None)
    assert (said["policy"]["num_inference_steps"], said["picture_size"]) == (8, [32, 32])


def test_a_run_draws_what_it_trained_from_the_noise_of_its_base(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    small = ["policy.adapter.rank=4", "policy.adapter.target_modules=[to_q]", f"run_dir={run}"]
    (run / "config.yaml").write_text(OmegaConf.to_yaml(configure(["experiment=t2i_rpo", *small]), resolve=True))
    policy = make_policy(num_inference_steps=8, adapter=small_lora(target_modules=["to_q"]))
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.add_(0.3)
    policy.adapter.save(run / "policy")
    drawn = ["benchmark=plain", f"prompts={made.t2i_compbench(tmp_path)}", f"run={run}", "limit=1"]
    config = with_policy_of_run(config_of(tmp_path / "out", *drawn), [])
    generate(config)
    with Image.open(tmp_path / "out" / "arr_rpo" / "00000_0.png") as picture:
        trained = np.asarray(picture, float)
    key = ("color_val/1", 0)
    [expected] = policy.generate([Prompt("color_val/1", made.TEXTS[0])], 1, [key])
    [base] = make_policy(num_inference_steps=8).generate([Prompt("color_val/1", made.TEXTS[0])], 1, [key])
    np.testing.assert_allclose(trained, np.asarray(expected, float), atol=1)
    assert np.abs(trained - np.asarray(base, float)).mean() > 2
    weights = json.loads((tmp_path / "out" / "manifest.json").read_text())["weights"]
    assert weights == folder_digest(run / "policy")


def test_pictures_of_something_else_are_not_gone_on_with(tmp_path: Path) -> None:
    prompts = made.t2i_compbench(tmp_path)
    drawn = ["benchmark=plain", f"prompts={prompts}", "policy=shapes", "policy.num_inference_steps=2"]
    generate(config_of(tmp_path / "out", *drawn))
    with pytest.raises(UserError, match="pictures with another seed: 1 there and 2 here"):
        generate(config_of(tmp_path / "out", *drawn, "seed=2"))
    prompts.write_text("another prompt")
    with pytest.raises(UserError, match="pictures with another prompts"):
        generate(config_of(tmp_path / "out", *drawn))
    with pytest.raises(UserError, match=r"policy=<name> for a base, or run="):
        generate(config_of(tmp_path / "new", f"prompts={prompts}"))
    with pytest.raises(UserError, match="no such folder to check"):
        check(config_of(tmp_path / "nowhere", f"prompts={prompts}"))


def test_edits_are_drawn_from_their_sources(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    prompts = made.gedit(folder)
    for number in range(3):
        Image.new("RGB", (32, 32), (0, 0, 80 * number)).save(folder / f"{number}.png")
    config = config_of(tmp_path / "out", "benchmark=gedit", f"prompts={prompts}", "policy=shapes_edit")
    generate(config)
    assert check(config) == []
    assert "picture_size" not in json.loads((tmp_path / "out" / "manifest.json").read_text())
    pictures = sorted((tmp_path / "out").rglob("k?.png"))
    assert len({picture.read_bytes() for picture in pictures}) == 3


@pytest.mark.parametrize(
    ("environment", "rank", "world"),
    [
        ({}, 0, 1),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "2", "WORLD_SIZE": "4"}, 2, 4),
        ({"RANK": "16"}, 0, 1),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, 1, 2),
    ],
)
def test_its_place_among_processes(environment: dict[str, str], rank: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert place() == (rank, world)


def run(log: Path, *arguments: str) -> warm.Started:
    return warm.start(log, "-m", "arr_rpo.commands", "generate", "progress=false", *arguments)


@pytest.mark.slow
def test_a_killed_one_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    drawn = ["benchmark=t2i_compbench", f"prompts={made.t2i_compbench(tmp_path)}", "policy=shapes", "policy.batch_size=2"]
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert run(tmp_path / "log", *drawn, f"output={whole}").wait() == 0
    killed = run(tmp_path / "log", *drawn, f"output={part}")
    while len(list(part.rglob("*.png"))) < 3:
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    begun = {path.name: path.stat().st_mtime_ns for path in part.rglob("*.png")}
    assert 3 <= len(begun) < 30
    checked = run(tmp_path / "checked", *drawn, f"output={part}", "--check")
    assert checked.wait() == 1
    assert f"_{len(begun) + 1:06d}.png is missing: its prompt is left out" in checked.said()
    assert run(tmp_path / "log", *drawn, f"output={part}").wait() == 0
    assert {path.name: path.read_bytes() for path in part.rglob("*.png")} == {
        path.name: path.read_bytes() for path in whole.rglob("*.png")
    }
    after = {path.name: path.stat().st_mtime_ns for path in part.rglob("*.png")}
    assert {name: after[name] for name in begun} == begun  # none was written again
    assert not list(part.rglob(".parts"))
