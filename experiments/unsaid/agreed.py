"""`python experiments/unsaid/agreed.py [folder]`: the tables of `agreement.py`, with intervals over annotators and seeds."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from arr_rpo.report.statistics import t_interval

Row = dict[str, Any]
COLUMNS: dict[str, Callable[[Row], float | None]] = {
    "accuracy": lambda row: row.get("accuracy", 0.5),  # a source that came to nothing has a coin
    "prompt alone": lambda row: _subset(row, "prompt"),
    "taste alone": lambda row: _subset(row, "taste"),
    "both": lambda row: _subset(row, "both"),
    "coverage": lambda row: row.get("says_coverage", 0.0 if "nothing" in row else None),
    "precision": lambda row: row.get("says_precision"),
    "exact": lambda row: row.get("says_exact", 0.0 if "nothing" in row else None),
}


def _subset(row: Row, name: str) -> float | None:
    if "nothing" in row:
        return 0.5
    return row["subsets"].get(name, {}).get("value") if row.get("subsets") else None


def by_annotator(rows: Iterable[Row], value: Callable[[Row], float | None]) -> list[float]:
    """One figure an annotator, the mean over its seeds: those are what an interval is over."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if (one := value(row)) is not None:
            found[row["annotator"]].append(one)
    return [sum(some) / len(some) for some in found.values()]


def cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    low, high = t_interval(list(values), 0.95)
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def table(rows: Sequence[Row]) -> str:
    groups: dict[tuple[str, float, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["source"], row["noise"], row["pairs"]].append(row)
    lines = [f"| source | pairs | wrong labels | {' | '.join(COLUMNS)} | came to nothing |", "|---" * (len(COLUMNS) + 4) + "|"]
    for (source, noise, pairs), some in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1], item[0][2])):
        values = [cell(by_annotator(some, value)) for value in COLUMNS.values()]
        nothing = sum("nothing" in row for row in some)
        lines.append(f"| {source} | {pairs or '-'} | {noise:.0%} | {' | '.join(values)} | {nothing} of {len(some)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/unsaid/agreement")
    print(table([json.loads(path.read_text(encoding="utf-8")) for path in sorted(place.glob("*/*/agreement.json"))]))
