"""Which learning rate of `study=algorithm_tuning` each rule learned most at, by successive halving.

    python train.py study=algorithm_tuning seed=11
    python report.py study=runs/study/algorithm_tuning/t2i_rpo
    python experiments/algorithms/choose.py runs/study/algorithm_tuning/t2i_rpo/results.csv

Each rule's two best rates of the first seed are tried on the second, by the commands that are printed. Run, reported and read
again, the rate that is better in the mean of both is chosen. It goes into `module.optimizer.lr` of configs/arm/<rule>.yaml.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Cell(NamedTuple):
    """Of one rule at one learning rate, over its seeds: mean change of the run's own measure, and mean KL, nats an image."""

    rate: float
    seeds: tuple[int, ...]
    change: float
    kl: float


def cells(rows: Iterable[Mapping[str, str]]) -> dict[str, list[Cell]]:
    """Rule -> its cells by learning rate, of the rows of a report's results.csv, whose arms are named "rpo, lr=0.0003"."""
    runs: dict[tuple[str, float], list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        rule, lr = row["arm"].split(", lr=")
        runs[rule, float(lr)].append(row)
    found: dict[str, list[Cell]] = defaultdict(list)
    for (rule, rate), some in sorted(runs.items()):
        changes = [float(row["after"]) - float(row["before"]) for row in some]
        seeds = tuple(sorted(int(row["seed"]) for row in some))
        found[rule].append(Cell(rate, seeds, sum(changes) / len(some), sum(float(row["kl"]) for row in some) / len(some)))
    return dict(found)


KEPT = 2  # rates of a rule that are tried on the next seed
SECOND = 12


def best_of(grid: Sequence[Cell]) -> Cell:
    """Of the cells with the most seeds, the one with the greatest change."""
    return max(grid, key=lambda cell: (len(cell.seeds), cell.change))


def second_stage(grid: Sequence[Cell]) -> list[Cell]:
    """The cells to be tried on the next seed, by rate; none where that is done."""
    if any(len(cell.seeds) > 1 for cell in grid):
        return []
    return sorted(sorted(grid, key=lambda cell: -cell.change)[:KEPT])


def remarks(grid: Sequence[Cell], best: Cell) -> list[str]:
    """Why a choice may be none."""
    said = []
    if sum(cell.seeds == best.seeds for cell in grid) < KEPT or len(best.seeds) == 1:
        said.append("seeds are missing: the sweep has not ended, or runs failed")
    if best.rate in (grid[0].rate, grid[-1].rate):
        said.append("at the edge of the grid: the best may lie beyond")
    return said


def table(found: Mapping[str, Sequence[Cell]]) -> str:
    lines = ["| rule | learning rate | seeds | change of accuracy | KL | |", "|---|---|---|---|---|---|"]
    for rule, grid in found.items():
        best = best_of(grid)
        for cell in grid:
            note = "; ".join(["**chosen**", *remarks(grid, best)]) if cell is best else ""
            seeds = ", ".join(map(str, cell.seeds))
            lines.append(f"| {rule} | {cell.rate:g} | {seeds} | {cell.change:+.3f} | {cell.kl:.1f} | {note} |")
    return "\n".join(lines)


def commands(found: Mapping[str, Sequence[Cell]]) -> str:
    """Of the second stage."""
    return "\n".join(
        f"python train.py study=algorithm_tuning arm={rule} module.optimizer.lr={','.join(f'{c.rate:g}' for c in left)} "
        f"seed={SECOND} num_threads=1"
        for rule, grid in found.items()
        if (left := second_stage(grid))
    )


if __name__ == "__main__":
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as file:
        all_cells = cells(csv.DictReader(file))
    print(table(all_cells), commands(all_cells), sep="\n\n")
