"""SIGTERM and SIGUSR1 ask for a checkpoint; the first also for the end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

ASKED = (signal.SIGTERM, signal.SIGUSR1)


class Signals:
    """Inside, a signal is noted, and whoever trains looks for it between two steps; in the main thread alone."""

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in ASKED}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def take(self) -> signal.Signals | None:
        """The signal that came since the last call, if any."""
        asked, self.asked = self.asked, None
        return asked

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not signal.SIGTERM:  # a later SIGUSR1 does not take the end back
            self.asked = signal.Signals(number)
