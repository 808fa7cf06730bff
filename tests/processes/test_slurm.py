"""A real Slurm, this machine its one node: what is interrupted goes on, and ends with the numbers of an undisturbed run.

Skipped where no Slurm answers.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes.starting import ENVIRONMENT, PYTHON, ROOT, numbers, said, small, state, trained, until, updates

SINFO = shutil.which("sinfo")
UP = SINFO is not None and subprocess.run([SINFO, "-h"], capture_output=True, check=False, timeout=30).returncode == 0
pytestmark = [pytest.mark.servers, pytest.mark.skipif(not UP, reason="no Slurm here: sinfo does not answer")]
UPDATES = 16
HOW = ("trainer=ddp", "trainer.devices=2")


def submitted(folder: Path, *overrides: str, options: tuple[str, ...] = ()) -> str:
    """A job of two tasks; its number."""
    script = folder / "job.sh"
    script.write_text(
        f"#!/bin/bash\nexport HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 PYTHONPATH={ENVIRONMENT['PYTHONPATH']}\n"
        f"srun --kill-on-bad-exit=1 {PYTHON} train.py {' '.join(overrides)}\n"
    )
    asked = ("--nodes=1", "--ntasks-per-node=2", "--requeue", "--open-mode=append", f"--output={folder}/log", *options)
    done = subprocess.run(["sbatch", "--parsable", *asked, str(script)], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def gone(job: str) -> bool:
    return not subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("slurm")
    trained(place, PYTHON, "train.py", *small(place, UPDATES), f"run_dir={place}/alone")
    return place


@pytest.fixture(scope="module")
def interrupted(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Jobs that were interrupted, by how: their folder and number. Slurm starts them again after two minutes.

    It sends the signal at a time of its choice in the last minutes of a job; here it comes by hand, as Slurm sends it: to the
    tasks.
    """
    jobs = {}
    for name, options, tell in (
        ("requeued", (), ("scontrol", "requeue")),
        ("time is up", ("--time=5", "--signal=USR1@60"), ("scancel", "--signal=USR1")),
    ):
        folder = tmp_path_factory.mktemp("interrupted")
        job = submitted(folder, *small(undisturbed, UPDATES), *HOW, f"run_dir={folder}/run", options=options)
        until(lambda folder=folder: updates(folder / "run") >= 3, 120, folder)  # type: ignore[misc]
        subprocess.run([*tell, job], check=True)
        until(lambda job=job: not running(job), 60, folder)  # type: ignore[misc]
        jobs[name] = folder, job
    return jobs


def running(job: str) -> bool:
    return bool(
        subprocess.run(["squeue", "-h", "-j", job, "-t", "R"], capture_output=True, text=True, check=False).stdout.strip()
    )


def test_a_sweep_by_submitit_has_a_job_of_two_tasks_a_run(
    undisturbed: Path, interrupted: dict[str, tuple[Path, str]], tmp_path: Path
) -> None:
    """While those that were interrupted wait."""
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2", "hydra.launcher.timeout_min=10")
    trained(
        tmp_path,
        *(PYTHON, "train.py", "-m", "seed=1,2", *small(undisturbed, UPDATES), *HOW, *launcher),
        f"hydra.sweep.dir={tmp_path}/sweep",
    )
    runs = sorted(path.parent for path in (tmp_path / "sweep").rglob("state.json"))
    assert [state(run)["state"] for run in runs] == ["finished", "finished"], said(tmp_path)
    assert numbers(runs[0]) == numbers(undisturbed / "alone")


@pytest.mark.parametrize("how", ["requeued", "time is up"])
def test_a_job_that_was_interrupted_goes_on(how: str, undisturbed: Path, interrupted: dict[str, tuple[Path, str]]) -> None:
    folder, job = interrupted[how]
    until(lambda: "from update" in said(folder), 300, folder)
    until(lambda: gone(job), 200, folder)
    assert state(folder / "run")["state"] == "finished", said(folder)
    assert numbers(folder / "run") == numbers(undisturbed / "alone")
