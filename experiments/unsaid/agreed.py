"""`python experiments/unsaid/agreed.py [folder]`: the tables of `agreement.py`, with intervals over annotators and seeds."""

from __future__ import annotations

import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from arr_rpo.evaluation.bench_rows import file_of
from arr_rpo.report.statistics import t_interval

Row = dict[str, Any]
SUBSETS = {"agreement": None, "prompt alone": "prompt", "taste alone": "taste", "both": "both"}


COLUMNS = (*SUBSETS, "coverage", "precision", "exact")


def agreement(verdicts: Path, nothing: bool) -> dict[str, float | None]:
    """Share of the pairs that are called as the annotator calls them. One that is called equal, decided by the order or has no
    answer counts one half; a source that came to nothing has a coin."""
    rows = [] if nothing else [json.loads(line) for line in verdicts.read_text(encoding="utf-8").splitlines()]
    found: dict[str, float | None] = {}
    for name, subset in SUBSETS.items():
        some = [row for row in rows if subset in (None, row["subset"])]
        right = [1.0 if row["outcome"] == row["better"] else 0.0 if row["outcome"] in "AB" else 0.5 for row in some]
        found[name] = 0.5 if nothing else (sum(right) / len(right) if right else None)
    return found


def read(place: Path) -> Iterator[Row]:
    for path in sorted(place.glob("*/*/agreement.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        nothing = "nothing" in row
        said = {name: row.get(f"says_{name}", 0.0 if nothing else None) for name in ("coverage", "precision", "exact")}
        yield {**row, **agreement(file_of(path.parent), nothing), **said}


def by_annotator(rows: Iterable[Row], column: str) -> list[float]:
    """One figure an annotator, the mean over its seeds: those are what an interval is over."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if (one := row[column]) is not None:
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
        values = [cell(by_annotator(some, column)) for column in COLUMNS]
        nothing = sum("nothing" in row for row in some)
        lines.append(f"| {source} | {pairs or '-'} | {noise:.0%} | {' | '.join(values)} | {nothing} of {len(some)} |")
    return "\n".join(lines)


def differences(rows: Sequence[Row], source: str) -> str:
    """Of one source against each other from as many pairs, or from none, paired by annotator."""
    lines = [f"| {source} minus | pairs | agreement | taste alone |", "|---|---|---|---|"]
    others = [name for name in dict.fromkeys(row["source"] for row in rows) if name not in (source, "annotator")]
    for other, pairs in itertools.product(others, sorted({row["pairs"] for row in rows if row["source"] == source})):
        cells = []
        for column in ("agreement", "taste alone"):
            ours, theirs = (
                {row["annotator"]: row[column] for row in rows if row["source"] == name and row["pairs"] in (pairs, least)}
                for name, least in ((source, pairs), (other, 0))
            )
            cells.append(cell([ours[who] - theirs[who] for who in ours if who in theirs]))
        lines.append(f"| {other} | {pairs} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    rows = list(read(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/unsaid/agreement")))
    print(table(rows), differences(rows, "own_weighted"), sep="\n\n")
