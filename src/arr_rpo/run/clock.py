"""Where the time of a run goes, by stage."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Seconds of each stage since they were last taken. Stages do not lie in each other."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - begun

    def take(self) -> defaultdict[str, float]:
        """Seconds by stage, and begins anew."""
        taken, self._seconds = self._seconds, {}
        return defaultdict(float, taken)
