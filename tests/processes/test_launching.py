"""Several processes, started by one command or by torchrun, as a user would: one folder, one end, one message."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.processes.starting import DDP, FSDP2, PYTHON, children, numbers, said, small, start, state, trained, until, updates

pytestmark = pytest.mark.servers
TORCHRUN = (PYTHON, "-m", "torch.distributed.run", "--nproc-per-node", "2")
UPDATES = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one run of one process."""
    place = tmp_path_factory.mktemp("launching")
    trained(place, PYTHON, "train.py", *small(place, UPDATES), f"run_dir={place}/one")
    return place


@pytest.mark.parametrize(
    ("name", "command", "how"),
    [
        ("ddp", (PYTHON, "train.py"), DDP),
        ("fsdp2", (PYTHON, "train.py"), FSDP2),
        ("torchrun", (*TORCHRUN, "train.py"), DDP),
    ],
)
def test_the_numbers_of_one_process(place: Path, name: str, command: tuple[str, ...], how: tuple[str, ...]) -> None:
    trained(place, *command, *small(place, UPDATES), *how, f"run_dir={place}/{name}")
    assert numbers(place / name) == numbers(place / "one")
    assert len(list((place / name).glob("events.out*"))) == 1
    assert (place / name / "policy").is_dir()


def test_a_sweep_of_runs_of_two_processes(place: Path) -> None:
    sweep = place / "sweep"
    said = trained(place, PYTHON, "train.py", "-m", "seed=1,2", *small(place, UPDATES), *DDP, f"hydra.sweep.dir={sweep}")
    assert "2 runs: 0 skipped, 0 resumed, 2 started; 2 finished" in said
    runs = sorted(path.parent for path in sweep.rglob("state.json"))  # overrides with paths make folders in folders
    assert len(runs) == 2
    assert numbers(runs[0]) == numbers(place / "one")
    assert numbers(runs[0]) != numbers(runs[1])


def test_a_process_that_is_killed_ends_the_run_which_goes_on_with_other_processes(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, PYTHON, "train.py", *small(place, UPDATES), *DDP, f"run_dir={run}")
    until(lambda: updates(run) >= 2, 120, tmp_path)
    (child,) = children(process, ("arr_rpo.commands.runs.follow",))
    os.kill(child, signal.SIGKILL)
    begun = time.monotonic()
    assert process.wait(timeout=60) == 1
    assert time.monotonic() - begun < 30
    assert "process 1 of 2 ended with exit code -9" in said(tmp_path)
    assert "goes on from the last checkpoint" in state(run)["error"]
    trained(tmp_path, PYTHON, "train.py", f"resume={run}", *FSDP2)
    assert numbers(run) == numbers(place / "one")


def test_a_signal_to_one_process_stops_all_with_a_checkpoint(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, PYTHON, "train.py", *small(place, 60), *DDP, f"run_dir={run}")
    until(lambda: updates(run) >= 2, 120, tmp_path)
    os.kill(children(process, ("arr_rpo.commands.runs.follow",))[0], signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert state(run)["state"] == "stopped"
    assert f"stopped: go on with resume={run}" in said(tmp_path)
    assert (run / "checkpoints" / f"update_{state(run)['update']:05d}").is_dir()


@pytest.mark.parametrize("command", [(PYTHON, "train.py"), (*TORCHRUN, "train.py")], ids=["lightning", "torchrun"])
def test_a_process_that_cannot_be_built_ends_all(place: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    process = start(
        tmp_path, *command, *small(place), *DDP, "judge._target_=tests.processes.many.NotEverywhere", f"run_dir={tmp_path}/run"
    )
    assert process.wait(timeout=120) == 1
    assert "no weights on this machine" in said(tmp_path)


@pytest.mark.parametrize(
    ("command", "how", "told"),
    [
        ((*TORCHRUN, "train.py"), (), "torchrun with 2 tasks: several processes take trainer=ddp"),
        ((*TORCHRUN, "train.py", "-m"), (*DDP, "seed=1,2"), "leave torchrun out and give trainer.devices"),
    ],
)
def test_what_cannot_work_is_refused(
    place: Path, tmp_path: Path, command: tuple[str, ...], how: tuple[str, ...], told: str
) -> None:
    """The other cases: tests/commands/runs/test_processes.py."""
    said = trained(tmp_path, *command, *small(place), *how, f"run_dir={tmp_path}/run", code=1)
    assert told in said
    assert "/src/arr_rpo/" not in said  # no frame of ours in a traceback; torchrun has its own
    assert not (tmp_path / "run" / "config.yaml").exists()
