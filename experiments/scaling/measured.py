"""What runs measured of themselves: seconds of each update by stage, from `metrics.jsonl`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STAGES = ("rollout", "judging", "update")


@dataclass(frozen=True)
class Seconds:
    """Of one update, and what it was spent on; working: candidates whose group has a gradient."""

    rollout: float
    judging: float
    update: float
    images: int
    calls: int
    optimizer_steps: int
    working: float

    @property
    def whole(self) -> float:
        return self.rollout + self.judging + self.update


def read(run: Path) -> list[Seconds]:
    """All updates of a run but the first, in which caches fill and the short way of a step is found."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [
        Seconds(
            **{stage: row[f"time/{stage}"] for stage in STAGES},
            images=round(row["judge/images"]),
            calls=round(row["judge/calls"]),
            optimizer_steps=round(row["policy/optimizer_steps"]),
            working=row["judge/images"] * (1 - row["reward/silent_groups"]),
        )
        for row in rows[1:]
    ]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First, second and third."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
