"""Starts runs as a user would, waits for them, and reads what they came to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
DDP = ("trainer=ddp", "trainer.devices=2")
FSDP2 = ("trainer=fsdp2", "trainer.devices=2")


def small(folder: Path, updates: int = 4) -> list[str]:
    """Overrides of a run of seconds, whose judge is the oracle and whose held-out prompts are twelve."""
    heldout = folder / "heldout.jsonl"
    if not heldout.is_file():
        lines = (ROOT / "src/arr_rpo/shapes/data/heldout.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        heldout.write_text("".join(lines[:12]), encoding="utf-8")
    return [
        *("experiment=t2i_rpo", "judge=oracle", f"data.updates={updates}", "data.candidates_per_update=16"),
        *("callbacks.heldout.prompts=8", "callbacks.heldout.kl_prompts=4", "callbacks.heldout.final_kl_prompts=4"),
        *(f"data.heldout={heldout}", "data.unseen=null", "trainer.enable_progress_bar=false", f"rubric.store={folder}/rubrics"),
        "callbacks.checkpoint.every_seconds=1",
    ]


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Its output is `folder`/log."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log)


def trained(folder: Path, *command: str, code: int = 0) -> str:
    """Runs a command to its end; returns what it printed."""
    process = start(folder, *command)
    assert process.wait(timeout=400) == code, said(folder)
    return said(folder)


def said(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8", errors="replace")[-6000:]


def until(condition: Callable[[], Any], seconds: float, what: Path) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, said(what) if (what / "log").exists() else "too late"
        time.sleep(0.5)


def updates(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_text(encoding="utf-8").count("\n") if path.is_file() else 0


def state(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "state.json").read_text(encoding="utf-8"))
    return found


def numbers(run: Path) -> dict[str, Any]:
    """What a finished run came to: verdicts, held-out answers, and figures without those of time."""
    verdicts = [json.loads(line) for line in (run / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    judge = {key: value for key, value in summary["judge"].items() if "writing" not in key}  # rubrics are written once
    return {
        "finished": state(run)["state"],
        "verdicts": [(row["update"], row["prompt_id"], row["outcome"]) for row in verdicts],
        "heldout": [json.loads(line, object_hook=_exact) for line in (run / "heldout.jsonl").read_text("utf-8").splitlines()],
        "figures": _exact({key: _exact(summary[key]) for key in ("measures", "images", "optimizer_steps")}),
        "judge": judge,
    }


def _exact(found: Any) -> Any:
    """Without the figures of pictures, which round otherwise in a call of 8 than in one of 16."""
    return {key: value for key, value in found.items() if key != "signs"} if isinstance(found, dict) else found


def children(process: subprocess.Popen[bytes], words: Sequence[str]) -> list[int]:
    """Processes below one, whose command has all the words."""
    asked = ["pgrep", "-P", str(process.pid), "-f", ".*".join(words)]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    return [int(pid) for pid in found]
