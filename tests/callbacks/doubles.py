"""A trainer that has callbacks and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.signals import Signals


def records(folder: Path) -> RunRecords:
    return RunRecords(RunFolder(folder), "", {}, Signals())


def trainer_with(folder: Path, *callbacks: Any, **more: Any) -> Any:
    return SimpleNamespace(callbacks=[records(folder), *callbacks], loggers=[], **more)
