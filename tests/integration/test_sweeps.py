"""Sweeps as a user runs them: killed and started again, with failing runs, on other launchers, and as a search."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.commands.train import main
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import State
from arr_rpo.run.lock import occupied
from tests import warm

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SMALL = [
    "judge=oracle",
    "data.updates=2",
    "data.candidates_per_update=4",
    "data.unseen=null",
    "policy.num_inference_steps=3",
    "callbacks.heldout.final_kl_prompts=2",
    "callbacks.heldout.every_n_updates=null",
    "callbacks.verdict_pictures=null",
    "callbacks.image_grid=null",
    "callbacks.checkpoint.every_seconds=0",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "num_threads=1",
]
STUDY = ["study=reward_form", "algorithm=rpo", "sampler=flow_sde"]  # groups of 2: the study's own of 8 need more pictures


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    rows = (ROOT / "src/arr_rpo/shapes/data/heldout.jsonl").read_text(encoding="utf-8").splitlines()[::100]
    path = tmp_path / "heldout.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8")
    return [*SMALL, f"data.heldout={path}", f"rubric.store={tmp_path / 'rubrics'}"]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Hydra configures it."""
    handlers = list(logging.root.handlers)
    yield
    logging.root.handlers[:] = handlers


def train(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """`python train.py ...` in this process. Returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def results(sweep: Path) -> dict[str, dict[str, Any]]:
    """What a table of results is made of, a row a run."""
    found = {}
    for path in sorted(sweep.glob("*/summary.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        found[path.parent.name] = {
            **{key: summary[key] for key in ("measures", "kl", "images", "optimizer_steps")},
            "judge_calls": summary["judge"]["calls"],
        }
    return found


def traces(run: Path) -> dict[str, tuple[int, int, int]]:
    """File -> inode, time of its last change, size."""
    stats = {str(path.relative_to(run)): path.stat() for path in run.rglob("*") if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}


def met(run: Path) -> set[tuple[int, str]]:
    """The prompts of each update."""
    rows = map(json.loads, (run / "verdicts.jsonl").read_text(encoding="utf-8").splitlines())
    return {(row["update"], row["prompt_id"]) for row in rows}


def happened(sweep: Path) -> list[tuple[str, str]]:
    lines = (sweep / "sweep.jsonl").read_text(encoding="utf-8").splitlines()
    return [(event["run"], event["what"]) for event in map(json.loads, lines)]


def test_a_killed_sweep_goes_on_where_it_was(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [*STUDY, "arm=rubric,scalar", "seed=1,2", *small, "data.updates=6"]
    whole, killed = tmp_path / "whole", tmp_path / "runs/study/reward_form/t2i_rpo"
    names = [f"arm={arm},seed={seed}" for seed in (1, 2) for arm in ("rubric", "scalar")]  # in this order
    first, second, third, fourth = names
    # as in the README: the folder is the study's own
    process = warm.start(tmp_path / "log", "train.py", *arguments, folder=tmp_path)
    wait_for_a_checkpoint(RunFolder(killed / second), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (killed / first / "summary.json").is_file()
    assert not (killed / second / "summary.json").exists()
    assert not (killed / third).exists()
    before = traces(killed / first)
    assert "verdicts.jsonl" in before

    assert train(monkeypatch, *arguments, f"hydra.sweep.dir={killed}") == 0
    assert "4 runs: 1 skipped, 1 resumed, 2 started; 4 finished" in capfd.readouterr().out
    assert traces(killed / first) == before
    doing = [(first, "started"), (first, "finished"), (second, "started")]
    doing += [(first, "skipped"), (second, "resumed"), (second, "finished")]
    assert happened(killed) == doing + [(name, what) for name in (third, fourth) for what in ("started", "finished")]

    assert train(monkeypatch, *arguments, f"hydra.sweep.dir={whole}") == 0
    assert len(results(whole)) == 4
    assert results(killed) == results(whole)
    assert len({str(row) for row in results(whole).values()}) == 4  # they are four different runs
    assert results(whole)[first]["images"] == 6 * 4
    assert met(whole / first) == met(whole / second) != met(whole / third)  # arms of a seed see the same prompts

    (killed / second / "summary.json").unlink()  # killed after the last checkpoint: only the measure is missing
    RunFolder(killed / second).say(State.RUNNING)
    assert train(monkeypatch, *arguments, f"hydra.sweep.dir={killed}") == 0
    assert "4 runs: 3 skipped, 1 resumed, 0 started" in capfd.readouterr().out
    assert results(killed) == results(whole)


def wait_for_a_checkpoint(folder: RunFolder, process: warm.Started) -> None:
    for _ in range(4000):
        if folder.checkpoints():
            return
        assert process.poll() is None, "the sweep ended too soon"
        time.sleep(0.02)
    raise TimeoutError(folder.path)


def test_two_terminals_may_work_on_one_sweep(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep"
    arguments = ["-m", "reward=scalar,pairwise", *small, f"hydra.sweep.dir={sweep}"]
    arguments += ["hydra.sweep.subdir=${hydra:runtime.choices.reward}"]
    with occupied(sweep / "scalar"):
        assert train(monkeypatch, *arguments) == 0
    assert "2 runs: 0 skipped, 0 resumed, 1 started; 1 finished, 1 left to another process" in capfd.readouterr().out
    assert list(results(sweep)) == ["pairwise"]
    assert RunFolder(sweep / "scalar").state() == {}


def test_a_run_that_fails_stops_no_other(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep"
    small = [override for override in small if not override.startswith("rubric.")]
    arguments = ["-m", "reward=rubric,pairwise", "rubric=none", *small, f"hydra.sweep.dir={sweep}"]
    arguments += ["hydra.sweep.subdir=${hydra:runtime.choices.reward}"]
    assert train(monkeypatch, *arguments) == 1
    said = capfd.readouterr()
    assert "2 runs: 0 skipped, 0 resumed, 2 started; 1 finished" in said.out
    assert "failed: rubric: this reward reads a rubric and rubric=none" in said.err
    assert "Traceback" not in said.err
    assert list(results(sweep)) == ["pairwise"]
    assert "rubric=none" in RunFolder(sweep / "rubric").state()["error"]

    # Another config in the same folder: refused before anything is touched; and what failed is tried again.
    before = traces(sweep / "pairwise")
    assert train(monkeypatch, *arguments, "data.updates=3") == 1
    said = capfd.readouterr()
    assert "data.updates is 2 there and 3 here" in said.err
    assert traces(sweep / "pairwise") == before
    assert "2 runs: 0 skipped, 0 resumed, 1 started; 0 finished" in said.out  # what never began is no other run
    assert train(monkeypatch, *arguments) == 1
    assert "2 runs: 1 skipped, 0 resumed, 1 started; 1 finished" in capfd.readouterr().out
    assert traces(sweep / "pairwise") == before


def test_joblib_runs_several_at_once(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not find_spec("hydra_plugins.hydra_joblib_launcher"):
        pytest.skip("needs the extra `joblib`")
    arguments = [*STUDY, "arm=pairwise", "seed=1,2", *small, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    arguments += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    assert train(monkeypatch, *arguments) == 0
    assert "2 runs: 0 skipped, 0 resumed, 2 started; 2 finished" in capfd.readouterr().out
    assert list(results(tmp_path / "sweep")) == ["arm=pairwise,seed=1", "arm=pairwise,seed=2"]
    assert train(monkeypatch, *arguments, "data.updates=3") == 1  # refused in processes of their own, told in this one
    assert capfd.readouterr().err.count("data.updates is 2 there and 3 here") >= 2


def test_submitit_runs_each_as_a_job(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not find_spec("hydra_plugins.hydra_submitit_launcher"):
        pytest.skip("needs the extra `slurm`")
    arguments = [*STUDY, "arm=pairwise", "seed=1", *small, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert train(monkeypatch, *arguments, "hydra/launcher=submitit_local") == 0
    assert "1 runs: 0 skipped, 0 resumed, 1 started; 1 finished" in capfd.readouterr().out
    assert list(results(tmp_path / "sweep")) == ["arm=pairwise,seed=1"]


def test_a_search_finds_its_trials_again(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not find_spec("hydra_plugins.hydra_optuna_sweeper"):
        pytest.skip("needs the extra `optuna`")
    sweep = tmp_path / "search"
    arguments = ["hparams_search=optuna", "hydra.sweeper.n_trials=2", f"hydra.sweep.dir={sweep}", *small]
    arguments += ['hydra.sweep.subdir="lr=${module.optimizer.lr}"']
    assert train(monkeypatch, *arguments) == 0
    assert "2 runs: 0 skipped, 0 resumed, 2 started" in capfd.readouterr().out
    found = {row["measures"]["shapes"]["after"] for row in results(sweep).values()}
    best = (sweep / "optimization_results.yaml").read_text(encoding="utf-8")
    assert f"best_value: {max(found)}" in best
    assert train(monkeypatch, *arguments[:1], "hydra.sweeper.n_trials=3", *arguments[2:]) == 0
    assert "3 runs: 2 skipped, 0 resumed, 1 started" in capfd.readouterr().out  # the same two were proposed first
