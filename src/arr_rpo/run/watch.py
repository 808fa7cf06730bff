"""When one process of a run ends, the others end with it, and say why: nobody waits for half an hour in a collective call."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]

PERIOD = 1.0  # seconds between two looks
SILENCE = 45.0  # seconds without a sign of life after which a process counts as gone
GRACE = 10.0  # seconds for the main thread to end by itself: where the network says that a process is gone, it does
OWN_GRACE = 120.0  # the same for a process that has itself said that it ends, and puts its things in order


class Watch(threading.Thread):
    """A thread beside the training. Process 0 keeps a store, through which each process shows that it lives, and the first one
    that fails says why. Whoever hears of it, or loses the store, ends: with an error in the main thread, or else at once.

    Args:
        store: a connection to process 0's store.
        children: processes that this one started, which may end before they have met the others.
    """

    def __init__(self, store: TCPStore, rank: int, world: int, children: Sequence[subprocess.Popen[bytes]] = ()) -> None:
        super().__init__(daemon=True, name="watch")
        self._store, self._rank, self._world, self._children = store, rank, world, children
        self._over, self._beats = threading.Event(), 0
        self._seen = {other: (0, time.monotonic()) for other in range(world)}
        self.heard: str | None = None  # why the run ends
        self._told = False  # whether this process said so
        self.ending: Callable[[str], None] = lambda why: None  # told before the process ends at once

    @staticmethod
    def hosted(host: str, world: int, children: Sequence[subprocess.Popen[bytes]] = ()) -> Watch:
        """That of process 0; the others reach it by `port`."""
        store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=30))
        return Watch(store, 0, world, children)

    @staticmethod
    def reaching(host: str, port: int, rank: int, world: int) -> Watch:
        return Watch(TCPStore(host, port, is_master=False, timeout=timedelta(seconds=30)), rank, world)

    @property
    def port(self) -> int:
        return int(self._store.port)

    def tell(self, why: str) -> None:
        """Says to the others why this process ends; the first word counts."""
        if not self._over.is_set() and self.heard is None:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the store went with process 0
                self._store.compare_set("end", "", f"process {self._rank} of {self._world}: {why}")

    def why(self) -> str | None:
        """Why another process ended, once this one has noticed that something is wrong: what it said, if it could."""
        deadline = time.monotonic() + 3 * PERIOD
        while self.heard is None and time.monotonic() < deadline:
            self.heard = self._look()
            time.sleep(PERIOD / 10)
        return self.heard

    def over(self) -> None:
        """This process is done, in good order: it is not missed any more, and misses nobody."""
        self._over.set()
        with contextlib.suppress(RuntimeError):
            self._store.set(f"over/{self._rank}", "1")

    def run(self) -> None:
        while not self._over.wait(PERIOD):
            self.heard = self.heard or self._look()
            if self.heard is None:
                continue
            if not self._over.wait(OWN_GRACE if self._told else GRACE):
                try:
                    print(f"error: {self.heard}", file=sys.stderr, flush=True)
                    self.ending(self.heard)
                finally:
                    os._exit(1)
            return

    def _look(self) -> str | None:
        """Shows that this process lives; returns why the run ends, if it does."""
        try:
            self._beats += 1
            self._store.set(f"beat/{self._rank}", str(self._beats))
            if self._store.check(["end"]):
                return self._store.get("end").decode()
            return self._lost() if self._rank == 0 else None
        except RuntimeError:
            return f"process 0 of {self._world} is gone"

    def _lost(self) -> str | None:
        """Of process 0: which one has ended, or has not been heard of for too long."""
        now = time.monotonic()
        for number, child in enumerate(self._children, start=1):
            if child.poll() and not self._is_over(number):
                return f"process {number} of {self._world} ended with exit code {child.returncode}"
        for other in range(1, self._world):
            if self._is_over(other):
                continue
            beat = int(self._store.get(f"beat/{other}")) if self._store.check([f"beat/{other}"]) else 0
            if beat != self._seen[other][0] or beat == 0:
                self._seen[other] = (beat, now)
            elif now - self._seen[other][1] > SILENCE:
                self._store.compare_set("end", "", why := f"process {other} of {self._world} is gone")
                return why
        return None

    def _is_over(self, other: int) -> bool:
        return bool(self._store.check([f"over/{other}"]))
