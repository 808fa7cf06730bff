"""`python -m experiments.hacking.diversity RUN_OR_CSV... [--keep FILE.csv]`: do pictures of one prompt still differ?

Four pictures (noises) of each of 24 held-out prompts, by the base and by the trained policy; how different two of one prompt
are (mean absolute difference of copies of 16 x 16 pixels, 0 to 1). Writes `diversity.csv` into the run's folder.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.evaluation.images import spread
from arr_rpo.measure.signs import group_difference
from experiments.hacking.finished import Finished, look
from experiments.markdown import said, table

PROMPTS, NOISES = 24, 4


@dataclass(frozen=True)
class Differ:
    arm: str
    annotator: str
    base: float
    trained: float

    @property
    def key(self) -> Hashable:
        return self.arm, self.annotator


def differ(run: Path) -> list[Differ]:
    trained = Finished(run)
    prompts = spread(trained.heldout, PROMPTS)
    drawn = [trained.shown(prompts, noise) for noise in range(NOISES)]

    def of(some: str) -> float:
        return group_difference([getattr(shown, some)[k] for k in range(len(prompts)) for shown in drawn], NOISES)

    return [Differ(trained.arm, trained.who.name, of("base"), of("images"))]


def tables(rows: Sequence[Differ]) -> str:
    lines = []
    for arm in dict.fromkeys(row.arm for row in rows):
        some = [row for row in rows if row.arm == arm]
        ratios = [row.trained / row.base for row in some]
        means = (fmean(row.base for row in some), fmean(row.trained for row in some))
        lines.append([arm, len(some), *(f"{mean:.4f}" for mean in means), said(ratios, signed=False, digits=2)])
    return table(["arm", "runs", "base", "trained", "trained / base"], lines)


@plain_errors
def main() -> None:
    look(__doc__, "diversity.csv", Differ, differ, tables)


if __name__ == "__main__":
    main()
