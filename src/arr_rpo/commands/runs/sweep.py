"""A run of a sweep: skipped if it is finished, gone on with if it was stopped; one that fails does not stop the others.

What happens is written to `sweep.jsonl` in the sweep's folder, since a launcher may run each in a process, or on a machine, of
its own. `SweepReport` sums it up at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from arr_rpo.commands.cli.errors import told
from arr_rpo.commands.runs.stage import OtherRunError, Stage, clear, objective, stage
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import State
from arr_rpo.run.lock import OccupiedError, occupied
from arr_rpo.types import UserError

JOURNAL = "sweep.jsonl"
SKIPPED, RESUMED, STARTED, FINISHED, FAILED, LEFT = "skipped", "resumed", "started", "finished", "failed", "left"


def in_sweep() -> bool:
    """Whether Hydra runs this job as one of several (`-m`, or a study)."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def run_in_sweep(config: DictConfig, train: Callable[[DictConfig], None]) -> float | None:
    """Does what is left to do of one run.

    Returns:
        The run's first measure of held-out pictures after training; None of a run that failed or has no such measure.
    """
    run_dir = Path(config.run_dir)
    note = Note(run_dir)
    try:
        if stage(run_dir, config) is Stage.FINISHED:  # looked at without leaving a trace
            note(SKIPPED, "it is finished")
            return objective(run_dir)
        with occupied(run_dir):
            _train(config, run_dir, train, note)
        note(FINISHED)
        return objective(run_dir)
    except OccupiedError:  # two terminals work on one sweep
        note(LEFT, "another process is at work in it")
    except OtherRunError as error:  # nothing is written there
        note(FAILED, str(error))
    except Exception as error:
        message = told(error)
        if message is None:
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}"
        note(FAILED, message)
    except SystemExit:  # Ctrl-C, SIGTERM
        folder = HydraConfig.get().sweep.dir
        print(f"the sweep stopped: the same command goes on with it, given hydra.sweep.dir={folder}", file=sys.stderr)
        raise
    return None


def _train(config: DictConfig, run_dir: Path, train: Callable[[DictConfig], None], note: Note) -> None:
    found = stage(run_dir, config)  # again, now that nobody else is at work here
    if found is Stage.FINISHED:
        return note(SKIPPED, "another process finished it")
    if found is Stage.STOPPED:
        config.resume = str(run_dir)
        note(RESUMED, "from its last checkpoint")
    else:
        note(STARTED, "anew, since it had no checkpoint" if found is Stage.BEGUN else "")
    if found is Stage.BEGUN:
        clear(run_dir)
    try:
        train(config)
    except Exception as error:  # also of a run that came to no beginning: its folder has to say why
        with contextlib.suppress(UserError):
            RunFolder(run_dir).say(State.FAILED, error=told(error) or traceback.format_exc())
        raise


class Note:
    """Says what happens to a run, on the screen and in the sweep's journal."""

    def __init__(self, run_dir: Path) -> None:
        hydra = HydraConfig.get()
        sweep_dir = Path(hydra.sweep.dir)
        self.journal, self.run = sweep_dir / JOURNAL, os.path.relpath(run_dir, sweep_dir)
        self.session = str(hydra.callbacks["sweep"]["session"])

    def __call__(self, what: str, why: str = "") -> None:
        print(
            f"sweep: {self.run}: {what}{f': {why}' if why else ''}",
            file=sys.stderr if what == FAILED else sys.stdout,
            flush=True,
        )
        line = json.dumps({"at": _now(), "run": self.run, "what": what, "why": why, "session": self.session}) + "\n"
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("ab+") as file:  # one short write, so that lines of several processes stay whole
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = "\n" + line  # after a line that a full disk cut off
            file.write(line.encode())


class SweepReport(Callback):
    """After a sweep: what was skipped, resumed, started and left to another process; exit code 1 and a list if a run failed.

    session: which events are those of this command; another terminal may be at work on the same sweep.
    """

    def __init__(self, session: str) -> None:
        self.session = session

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuses several experiments: the sweep's folder and its arms are named by one."""
        for override in config.hydra.overrides.task:
            if override.startswith("experiment=") and "," in override:
                print(f"error: {override}: a sweep is of one experiment; give the command once for each", file=sys.stderr)
                raise SystemExit(1)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        events = [event for event in _read(config) if event.get("session") == self.session]
        if not events:
            return  # every run was told to go on with a run that it named (`resume`)
        how = {event["run"]: event["what"] for event in events if event["what"] in (SKIPPED, RESUMED, STARTED)}
        last = {event["run"]: event for event in events}
        left = [run for run, event in last.items() if event["what"] == LEFT]
        failed = {run: event for run, event in last.items() if event["what"] not in (SKIPPED, FINISHED, LEFT)}
        counts = ", ".join(f"{list(how.values()).count(what)} {what}" for what in (SKIPPED, RESUMED, STARTED))
        done = len(last) - len(failed) - len(left)
        others = f", {len(left)} left to another process" if left else ""
        print(f"sweep {config.hydra.sweep.dir}: {len(last)} runs: {counts}; {done} finished{others}")
        for run in left:
            print(f"  left: {run}: another process was at work in it")
        for run, event in failed.items():
            print(f"  failed: {run}: {event['why'] or 'it ended without a word'}", file=sys.stderr)
        if failed:
            raise SystemExit(1)


def _read(config: DictConfig) -> list[dict[str, str]]:
    """Those that are whole: a full disk, or several machines at once, may have torn a line."""
    path, found, torn = Path(config.hydra.sweep.dir) / JOURNAL, list[dict[str, str]](), 0
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else ():
        try:
            event = json.loads(line) if line.strip() else None
        except ValueError:
            torn += 1
            continue
        if isinstance(event, dict) and {"run", "what", "why"} <= event.keys():
            found.append(event)
    if torn:
        print(f"{path}: {torn} torn lines are left out", file=sys.stderr)
    return found


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
