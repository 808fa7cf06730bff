from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.runs.stage import REPLIES, OtherRunError, Stage, clear, differences, objective, stage
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import State
from arr_rpo.run.lock import OccupiedError, occupied
from arr_rpo.types import UserError
from tests.conftest import configure


def config(run_dir: Path, **changes: Any) -> DictConfig:
    made = {
        "name": "t2i_rpo",
        "seed": 1,
        "run_dir": str(run_dir),
        "resume": None,
        "num_threads": None,
        "data": {"updates": 80, "train": "shapes/train", "store": "${run_dir}/store"},
        "algorithm": {"lr": 1e-5, "layers": ["a", "b"], "old_decay": None},
        "callbacks": {"checkpoint": {"every_seconds": 30}, "progress": {"_target_": "x"}},
    }
    return OmegaConf.create({**made, **changes})


def begin(run_dir: Path, **changes: Any) -> DictConfig:
    run_dir.mkdir(parents=True, exist_ok=True)
    made = config(run_dir, **changes)
    (run_dir / "config.yaml").write_text(OmegaConf.to_yaml(made, resolve=True), encoding="utf-8")
    return made


def finish(run_dir: Path, text: str = '{"heldout_strict": {"before": 0.25, "after": 0.5}}') -> None:
    (run_dir / "summary.json").write_text(text, encoding="utf-8")
    RunFolder(run_dir).say(State.FINISHED)


def test_a_run_goes_through_four_stages(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert stage(run, config(run)) is Stage.EMPTY
    asked = begin(run)
    assert stage(run, asked) is Stage.BEGUN
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / ".update_00003.part").mkdir()
    assert stage(run, asked) is Stage.BEGUN
    (run / "checkpoints" / "update_00003").mkdir()
    assert stage(run, asked) is Stage.STOPPED
    finish(run)
    assert stage(run, asked) is Stage.FINISHED
    assert objective(run) == 0.5


@pytest.mark.parametrize("text", ["", "{", "[]", '{"heldout_strict": null}', '{"seconds": 3}'])
def test_a_summary_ends_no_run(tmp_path: Path, text: str) -> None:
    asked = begin(tmp_path)
    finish(tmp_path, text)
    assert objective(tmp_path) is None
    RunFolder(tmp_path).say(State.RUNNING)
    finish_text = '{"heldout_strict": {"before": 0.25, "after": 0.5}}'
    (tmp_path / "summary.json").write_text(finish_text, encoding="utf-8")
    assert objective(tmp_path) is None  # what comes after the summary is not written
    assert stage(tmp_path, asked) is Stage.BEGUN


def test_what_differs_is_named_with_both_values(tmp_path: Path) -> None:
    begin(tmp_path)
    asked = config(tmp_path, seed=2, data={"updates": 40, "train": "shapes/train", "store": "${run_dir}/store", "unseen": None})
    assert differences(tmp_path, asked) == {
        "seed": ("1", "2"),
        "data.updates": ("80", "40"),
        "data.unseen": ("nothing", "None"),
    }
    with pytest.raises(OtherRunError, match=r"data\.updates is 80 there and 40 here.*hydra\.sweep\.dir"):
        stage(tmp_path, asked)
    finish(tmp_path)
    with pytest.raises(OtherRunError):  # a finished one, too
        stage(tmp_path, asked)
    assert differences(tmp_path, config(tmp_path, algorithm={"lr": 1e-5, "layers": ["a"], "old_decay": 0})) == {
        "algorithm.layers.1": ("b", "nothing"),
        "algorithm.old_decay": ("None", "0"),
    }


def test_where_and_how_a_run_is_watched_makes_no_other_run(tmp_path: Path) -> None:
    asked = begin(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = config(
        tmp_path / "there",
        num_threads=1,
        resume="x",
        study={"question": "?"},
        data={"updates": 80, "train": "shapes/train", "store": "${run_dir}/store"},
        callbacks={"checkpoint": {"every_seconds": 0}, "progress": None},
    )
    assert differences(tmp_path / "there", moved) == {}
    moved.data.store = str(tmp_path / "elsewhere")
    assert set(differences(tmp_path / "there", moved)) == {"data.store"}
    assert asked.run_dir != moved.run_dir


def test_how_a_judge_is_reached_makes_no_other_run(tmp_path: Path) -> None:
    """A server that died comes back on another machine."""
    model = {"base_url": "http://a:8000/v1", "timeout": 120.0, "model": "Qwen", "parameters": {"temperature": 0.0}}
    begin(tmp_path, judge={"model": model}, callbacks={"rubric_reward": {"judge": {"model": model}}})
    moved = {**model, "base_url": "http://b:8000/v1", "timeout": 300.0}
    asked = config(tmp_path, judge={"model": moved}, callbacks={"rubric_reward": {"judge": {"model": moved}}})
    assert differences(tmp_path, asked) == {}
    other = {**model, "model": "Llama", "parameters": {"temperature": 1.0}}
    asked = config(tmp_path, judge={"model": other}, callbacks={"rubric_reward": {"judge": {"model": model}}})
    assert set(differences(tmp_path, asked)) == {"judge.model.model", "judge.model.parameters.temperature"}


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", ""])
def test_a_config_that_cannot_be_read_is_no_run_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(OtherRunError, match=r"config\.yaml"):
        stage(tmp_path, config(tmp_path))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from arr_rpo.run.lock import occupied\n"
        f"with occupied(pathlib.Path({str(tmp_path)!r})): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(OccupiedError, match="another process"), occupied(tmp_path):
            pass
        other.kill()
    with occupied(tmp_path):  # what a killed process held is free
        pass
    assert issubclass(OccupiedError, UserError)


def test_what_came_to_no_checkpoint_is_cleared_away(tmp_path: Path) -> None:
    for name in ("verdicts.jsonl", "config.yaml", "train.log", ".lock"):
        (tmp_path / name).write_text(json.dumps(name), encoding="utf-8")
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / "a.png").touch()
    clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "train.log"]


def test_replies_stay(tmp_path: Path) -> None:
    (tmp_path / REPLIES).mkdir()
    (tmp_path / REPLIES / "replies.sqlite").write_bytes(b"paid for")
    (tmp_path / "verdicts.jsonl").write_text("{}\n")
    (tmp_path / "images").mkdir()
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [REPLIES]
    assert (tmp_path / REPLIES / "replies.sqlite").read_bytes() == b"paid for"


def test_they_lie_there_by_default(tmp_path: Path) -> None:
    config = configure(["experiment=t2i_rpo", "judge=server", "judge.model.model=m", f"run_dir={tmp_path}"])
    assert Path(config.judge.model.cache_dir) == tmp_path / REPLIES
