"""SIGTERM and SIGUSR1 ask for a checkpoint; the first also for the end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from arr_rpo import ranks

ASKED = (signal.SIGTERM, signal.SIGUSR1)
URGENCY = (signal.SIGUSR1, signal.SIGTERM)


class Signals:
    """Inside, a signal is noted, and whoever trains looks for it between two steps; in the main thread alone."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.getsignal(number) for number in ASKED}
            self.listen()
        return self

    def listen(self) -> None:
        """Takes the signals again: Lightning's handler, put before this one, would call the other processes in mid-step."""
        if self._former:
            for number in ASKED:
                signal.signal(number, self._note)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def take(self) -> signal.Signals | None:
        """The signal that came to any of the run's processes since the last call, if one did. All of them ask at once."""
        mine = self.asked
        urgency = 0 if mine is None else URGENCY.index(mine) + 1
        asked = ranks.largest(urgency)
        if asked == urgency and self.asked is mine:  # another one may have come meanwhile
            self.asked = None
        return URGENCY[asked - 1] if asked else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not signal.SIGTERM:  # a later SIGUSR1 does not take the end back
            self.asked = signal.Signals(number)
