"""A job of Slurm's that may be interrupted, and goes on."""

from __future__ import annotations

import os
import subprocess
import sys

from arr_rpo import ranks


def step() -> str | None:
    """Job and step of Slurm's that this process is in, which are the same when the job starts once more; None outside of one,
    and in a batch script itself, which may start several programs one after the other."""
    job, number = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_STEP_ID")
    return f"{job}_{number}" if job and number and number.isdigit() else None


def restarted() -> bool:
    """Whether Slurm or torchrun started this job once more, after an interruption."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))


def requeued() -> bool:
    """Puts this process's job into Slurm's queue again, if there is one that may be, once for all processes.

    Returns whether it was: Slurm then ends it, and starts it anew.
    """
    if step() is None or os.environ.get("SUBMITIT_EXECUTOR"):  # it would not find its folder again; submitit does so itself
        return False
    job = os.environ["SLURM_JOB_ID"]
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    name = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job
    return ranks.by_the_first(lambda: _requeue(name))


def _requeue(job: str) -> bool:
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"scontrol requeue {job}: {error}; the job is not put into the queue again", file=sys.stderr)
        return False
    if done.returncode:
        print(f"scontrol requeue {job}: {done.stderr.strip()}; the job goes on to its end", file=sys.stderr)
    return done.returncode == 0
