"""`python refine.py`: goes on where it stopped, refuses another config, and draws with the embedded policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.commands.refine import refine
from arr_rpo.commands.runs.finished import with_policy_of_run
from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.images import spread
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.shapes.oracles.measure import judged
from arr_rpo.types import UserError
from tests.conftest import configure, make_policy

GRADES = [[], [1, 4, 2], [4, 1, 1], [None, 2, 3], [None, None, None], [3, 2, 1]]  # lines are counted from 1


def config_of(run_dir: Path, *overrides: str) -> DictConfig:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        fixed = [f"run_dir={run_dir}", "progress=false", "resampling.draws=20"]
        return compose("refine", overrides=[*fixed, *overrides])


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("".join(f"prompt number {n}\n" for n in range(5)), encoding="utf-8")
    return path


def scripted(run_dir: Path, prompts: Path, *overrides: str, stop_at: int = -1) -> DictConfig:
    config = config_of(run_dir, f"prompts={prompts}", "rounds=3", "good_enough=0.99", *overrides)
    OmegaConf.set_struct(config, False)
    config.policy = {"_target_": "tests.refinement.doubles.Painter"}
    config.judge = {"_target_": "tests.refinement.doubles.ScriptedJudge", "grades": GRADES}
    if stop_at >= 0:
        config.judge["stop_at"] = stop_at
    return config


def files(folder: Path) -> dict[str, bytes]:
    names = (
        "refinement.jsonl",
        "summary.json",
        "attempts.png",
        *(f"pictures/{p.name}" for p in (folder / "pictures").iterdir()),
    )
    return {name: (folder / name).read_bytes() for name in names}


def test_a_stopped_run_goes_on_and_equals_an_unbroken_one(tmp_path: Path, prompts: Path) -> None:
    whole = refine(scripted(tmp_path / "whole", prompts, "batch_size=5"))
    assert whole["rounds"] == {1: 1, 2: 1, 3: 3}
    assert whole["measured"] == {}  # nobody knows what is right
    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        refine(scripted(part, prompts, "batch_size=2", stop_at=4))
    begun = (part / "refinement.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["prompt_id"] for line in begun] == ["prompts/1", "prompts/2"]
    drawn = (part / "pictures" / "00000_1.png").stat().st_mtime_ns
    config = (part / "config.yaml").read_text(encoding="utf-8").replace("  stop_at: 4\n", "")
    (part / "config.yaml").write_text(config, encoding="utf-8")
    refine(scripted(part, prompts, "batch_size=2"))
    assert files(part) == files(tmp_path / "whole")
    assert (part / "pictures" / "00000_1.png").stat().st_mtime_ns == drawn
    assert [json.loads(line)["kept"] for line in (part / "refinement.jsonl").read_text().splitlines()] == [1, 0, 2, 0, 0]


def test_more_prompts_may_be_asked_for(tmp_path: Path, prompts: Path) -> None:
    assert refine(scripted(tmp_path / "run", prompts, "limit=2"))["prompts"] == 2
    assert refine(scripted(tmp_path / "run", prompts, "limit=5", "sheet=2"))["prompts"] == 5
    assert refine(scripted(tmp_path / "run", prompts, "limit=1"))["pictures"] == 2
    with pytest.raises(UserError, match="limit=0"):
        refine(scripted(tmp_path / "run", prompts, "limit=0"))


def test_another_config_is_refused_by_its_key(tmp_path: Path, prompts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refine(scripted(tmp_path / "run", prompts))
    before = files(tmp_path / "run")
    with pytest.raises(SystemExit):
        plain_errors(refine)(scripted(tmp_path / "run", prompts, "seed=2", "refinement=rewrite"))
    said = capsys.readouterr().err
    assert "seed is 1 there and 2 here" in said
    assert "refinement._target_ is arr_rpo.refinement.steps.Redraw there and arr_rpo.refinement.steps.Rewrite here" in said
    assert files(tmp_path / "run") == before


def test_the_embedded_policy_by_the_oracle(tmp_path: Path) -> None:
    """The oracle as judge keeps a picture with all criteria met wherever there is one."""
    result = refine(config_of(tmp_path, "judge=oracle", "limit=3", "rounds=2", "prompts=shapes/unseen"))
    assert {p.name for p in tmp_path.iterdir()} - {".lock"} == {
        "config.yaml", "versions.json", "refinement.jsonl", "summary.json", "attempts.png", "pictures",
    }  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "refinement.jsonl").read_text(encoding="utf-8").splitlines()]
    strict = []
    for row, prompt in zip(rows, spread(read_prompts("shapes/unseen"), 3), strict=True):
        assert row["prompt"] == prompt.text
        images = [Image.open(tmp_path / attempt["picture"]) for attempt in row["attempts"]]
        said = [judged(prompt, image).value for image in images]
        assert [attempt["measured"]["shapes"]["value"] for attempt in row["attempts"]] == said
        assert [attempt["grade"] == 1.0 for attempt in row["attempts"]] == [value == 1.0 for value in said]
        assert set(row["attempts"][0]["dimensions"]) <= {"objects", "colors", "numbers", "positions", "extras"}
        assert not np.array_equal(*map(np.asarray, images))  # new noise
        strict.append(said)
    figures = result["measured"]["shapes"]
    assert figures["first"]["value"] == pytest.approx(sum(s[0] for s in strict) / 3)
    assert figures["kept"]["value"] == figures["best"]["value"] == pytest.approx(sum(map(max, strict)) / 3)
    assert result["judge"] == {"name": "oracle", "revision": "2"}


def test_edits_are_drawn_from_their_source_in_every_round(tmp_path: Path) -> None:
    edits = ["policy=shapes_edit", "prompts=shapes/edit_unseen", "critic.edit_dimensions=[preservation]"]
    result = refine(config_of(tmp_path, *edits, "judge=oracle", "limit=1", "rounds=2"))
    [prompt] = read_prompts("shapes/edit_unseen")[:1]
    assert prompt.source is not None
    [row] = [json.loads(line) for line in (tmp_path / "refinement.jsonl").read_text(encoding="utf-8").splitlines()]
    with Image.open(tmp_path / row["source"]) as source:
        assert np.array_equal(np.asarray(source), np.asarray(prompt.source))
    assert [list(attempt["dimensions"]) for attempt in row["attempts"]] == [["preservation"]] * 2
    assert set(row["attempts"][0]["measured"]["shapes"]["figures"]) == {"criteria", "instruction", "preservation"}
    assert result["measured"]["shapes"]["first"]["of"] == 1


def test_a_run_of_training_brings_its_policy(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"no config\.yaml there"):
        with_policy_of_run(config_of(tmp_path / "out", f"run={run}"), [])
    run.mkdir()
    trained = configure(
        ["experiment=t2i_rpo", f"run_dir={run}", "policy.adapter.rank=4", "policy.adapter.target_modules=[to_q]"]
    )
    (run / "config.yaml").write_text(OmegaConf.to_yaml(trained, resolve=True), encoding="utf-8")
    with pytest.raises(UserError, match="did not end"):
        with_policy_of_run(config_of(tmp_path / "out", f"run={run}"), [])
    policy = made(trained)
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.add_(0.3)
    policy.adapter.save(run / "policy")
    with pytest.raises(UserError, match=r"brings the run's own policy: leave policy\.batch_size=3 out"):
        with_policy_of_run(config_of(tmp_path / "out", f"run={run}"), ["judge=oracle", "policy.batch_size=3"])
    config = with_policy_of_run(config_of(tmp_path / "out", f"run={run}", "judge=oracle", "limit=1", "rounds=1"), [])
    refine(config)
    [prompt] = read_prompts("shapes/heldout")[:1]
    expected = np.asarray(policy.generate([prompt], 1, [(prompt.id, 1)])[0], dtype=float)
    with Image.open(tmp_path / "out" / "pictures" / "00000_1.png") as picture:
        np.testing.assert_allclose(np.asarray(picture, dtype=float), expected, atol=1)
    base = np.asarray(make_policy(num_inference_steps=8).generate([prompt], 1, [(prompt.id, 1)])[0], dtype=float)
    assert np.abs(base - expected).mean() > 2


def made(config: Any) -> PipelinePolicy:
    from hydra.utils import instantiate

    policy = instantiate(config.policy)
    assert isinstance(policy, PipelinePolicy)
    return policy


@pytest.mark.parametrize("overrides", [["refinement=rewrite", "judge=oracle"], ["refinement=rewrite"]])
def test_a_judge_that_cannot_write_is_named_before_anything_is_drawn(tmp_path: Path, overrides: Sequence[str]) -> None:
    config = config_of(tmp_path / "run", *overrides)
    OmegaConf.set_struct(config, False)
    config.policy = {"_target_": "tests.refinement.doubles.Painter"}
    with pytest.raises(UserError, match=r"writes no prompts|no text for the role 'refine_prompt'"):
        refine(config)
    assert not (tmp_path / "run" / "config.yaml").exists()
