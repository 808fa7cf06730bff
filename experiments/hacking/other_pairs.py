"""`python -m experiments.hacking.other_pairs runs/study/hacking/t2i_rpo/arm=own_weighted* ...`: is what training gained the
reward's own, or would a reward of the same kind from other labelled pairs see it, too?

On held-out pictures of each run, against the base's of the same prompt and noise: how often does the run's own reward prefer
the trained policy's, how often one of the same kind that comes of other pairs of the same annotator (`study.pairs_seed=2`), and
how often the annotator. What the first has beyond the second is over-optimisation of that one reward. Writes `other_pairs.csv`
into the run's folder, and prints means over runs. For `reward_model` there has to be the other one:
`experiments/unsaid/agreement.py --seeds 2`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.types import UserError
from experiments.hacking.best_of_n import composed
from experiments.hacking.courses import SAME
from experiments.hacking.finished import Finished, look, preferred
from experiments.markdown import said, table

OTHER_SEED = 2  # of pairs
ARMS = {"reward_model": "unsaid/reward_model", "own_weighted": "unsaid/own_weighted"}


@dataclass(frozen=True)
class Seen:
    """Shares of the prompts at which the trained picture is preferred to the base's, a tie one half."""

    arm: str
    annotator: str
    prompts: int
    own: float
    other: float
    gold: float

    @property
    def key(self) -> Hashable:
        return self.arm, self.annotator


def shares(
    own: Sequence[float | None], other: Sequence[float | None], gaps: Sequence[float]
) -> tuple[int, float, float, float]:
    """Of prompts at which neither failed. gaps: what the picture is worth to the annotator beyond the base's."""
    gold = [0.5 if abs(gap) < SAME else float(gap > 0) for gap in gaps]
    rows = [(a, b, c) for a, b, c in zip(own, other, gold, strict=True) if a is not None and b is not None]
    return len(rows), *(fmean(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


def seen(run: Path) -> list[Seen]:
    """Of a finished run of an arm that comes of labelled pairs.

    Raises:
        UserError: it is not one.
    """
    trained = Finished(run)
    if trained.arm not in ARMS:
        raise UserError(f"{run} is of the arm {trained.arm!r}: give those of {', '.join(ARMS)}")
    study, shown = trained.config.study, trained.shown(trained.heldout)
    others = [f"study.pairs_seed={OTHER_SEED}", f"study.from_pairs={study.from_pairs}"]
    other = composed(ARMS[trained.arm], trained.who.name, others)
    worth, base = (trained.worth(shown.prompts, some) for some in (shown.images, shown.base))
    gaps = [a - b for a, b in zip(worth, base, strict=True)]
    found = shares(preferred(trained.config, shown), preferred(other, shown), gaps)
    return [Seen(trained.arm, trained.who.name, *found)]


def tables(rows: Sequence[Seen]) -> str:
    lines = []
    for arm in dict.fromkeys(row.arm for row in rows):
        some = [row for row in rows if row.arm == arm]
        means = [f"{fmean(values):.3f}" for values in zip(*((r.own, r.other, r.gold) for r in some), strict=True)]
        gaps = [said([r.own - r.other for r in some]), said([r.other - r.gold for r in some])]
        lines.append([arm, len(some), *means, *gaps])
    heads = ["arm", "runs", "own reward", "of other pairs", "annotator", "own minus other", "other minus annotator"]
    found = table(heads, lines)
    one, other = ({r.annotator: r.own - r.other for r in rows if r.arm == arm} for arm in ARMS)
    if both := [one[who] - other[who] for who in one if who in other]:
        found += f"\n\nOwn minus other, {' minus '.join(ARMS)}: {said(both)}."
    return found


@plain_errors
def main() -> None:
    look(__doc__, "other_pairs.csv", Seen, seen, tables)


if __name__ == "__main__":
    main()
