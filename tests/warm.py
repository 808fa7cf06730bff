"""Commands in processes of their own, which need not import for seconds first: each is a copy of a process that has imported.

What such a process is given, prints and ends with is what `python train.py ...` is given, prints and ends with. That the
programs start at all is what tests/commands/test_train.py and test_evaluate.py show with real ones.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTED = ("arr_rpo.commands.runs.training", "arr_rpo.commands.evaluate", "arr_rpo.commands.generate", "tests.stops")


class Started:
    """A command under way. What it prints goes to `log`."""

    def __init__(self, log: Path, folder: Path, words: tuple[str, ...]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(IMPORTED))
        self.log = log
        self.process = context.Process(target=_run, args=(str(log), str(folder), dict(os.environ), words))
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, seconds: float = 300) -> int:
        """The exit code; minus the number of the signal that ended it.

        Raises:
            TimeoutError: it is still at work, with what it said.
        """
        self.process.join(seconds)
        if (code := self.process.exitcode) is None:
            self.process.kill()
            raise TimeoutError(self.said())
        return code

    def send_signal(self, which: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, which)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def start(log: Path, *words: str, folder: Path = ROOT) -> Started:
    """`python words...` in `folder`: a program of this repository, or `-m` and a module, and its arguments."""
    return Started(log, folder, words)


def done(log: Path, *words: str, folder: Path = ROOT) -> tuple[int, str]:
    """The same to its end: exit code, and what was printed."""
    started = start(log, *words, folder=folder)
    return started.wait(), started.said()


def _run(log: str, folder: str, environment: Mapping[str, str], words: tuple[str, ...]) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1, closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if words[0] == "-m":
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
