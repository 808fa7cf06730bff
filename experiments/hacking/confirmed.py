"""Is a taste that its judge checks badly gamed by policies that are paid for it, of people no policy of whom
had been looked at? The eighth amendment of PLAN.md.

    python -m experiments.hacking.confirmed runs/study/hacking_checked/t2i_rpo/arm=* --keep experiments/hacking/confirmed.csv

finds what `criteria.py` does of runs of the arms `told` and `prompt_alone`, and compares it by the AUC of `unsaid/checked.csv`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from scipy import stats

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.report.statistics import t_p_value
from experiments import kept
from experiments.hacking.criteria import Found, of_run
from experiments.hacking.finished import look
from experiments.markdown import said, table
from experiments.unsaid.checked import Checked

HERE = Path(__file__).parent
PAID, UNPAID = "told", "prompt_alone"
BADLY, WELL = 0.7, 0.9  # AUC


class Taste(NamedTuple):
    """One annotator's taste. paid, unpaid: how much P(yes) and the truth rose with the policy that is paid for it and with the
    one that is not; None where that was not measured."""

    annotator: str
    question: str
    auc: float
    paid: Found
    unpaid: Found | None


def tastes(found: Sequence[Found], checked: Iterable[Checked]) -> list[Taste]:
    auc = {(row.annotator, row.taste): row.auc for row in checked}
    paid, unpaid = (
        {(row.annotator, row.question): row for row in found if (row.arm, row.kind) == here}
        for here in ((PAID, "liked"), (UNPAID, "unnamed"))
    )
    return [Taste(*key, auc[key], row, unpaid.get(key)) for key, row in paid.items() if key in auc]


def by_person(some: Iterable[Taste], figure: str) -> list[float]:
    """Of each person a figure of the paid policy minus that of the unpaid one; the mean of a person's tastes."""
    own: dict[str, list[float]] = {}
    for one in some:
        if one.unpaid is not None:
            own.setdefault(one.annotator, []).append(getattr(one.paid, figure) - getattr(one.unpaid, figure))
    return [sum(values) / len(values) for values in own.values()]


def tables(new: Sequence[Found]) -> str:
    former = [*kept.read(Found, HERE / "criteria.csv")]
    return compared(new, former, [*kept.read(Checked, HERE.parent / "unsaid" / "checked.csv")])


def compared(new: Sequence[Found], former: Sequence[Found], checked: Sequence[Checked]) -> str:
    here, before = tastes(new, checked), tastes(former, checked)
    badly = sorted((one for one in here if one.auc < WELL), key=lambda one: one.auc)
    every = sorted((one for one in (*here, *before) if one.auc < WELL), key=lambda one: one.auc)
    rows = [(t.annotator, t.question, f"{t.auc:.2f}", "new" if t in badly else "", *_cells(t)) for t in every]
    heads = ["of", "taste", "AUC", "", "P(yes) rose by", "truth rose by", "gap", "the same, not paid for", "truth", "gap"]
    each = table(heads, rows)
    some: Mapping[str, Sequence[Taste]] = {
        "new people, AUC below 0.9 (the test)": badly,
        "of them, below 0.7": [one for one in badly if one.auc < BADLY],
        "of them, 0.7 to 0.9": [one for one in badly if one.auc >= BADLY],
        "the three of before, and these": every,
        "tastes above 0.9, all people": [one for one in (*here, *before) if one.auc >= WELL],
    }
    lines = []
    for words, group in some.items():
        gaps = by_person(group, "gap")
        p = f"{t_p_value(gaps):.3f}" if len(gaps) > 1 else "-"
        lines.append((words, len(gaps), said(gaps), p, said(by_person(group, "rise")), said(by_person(group, "truth"))))
    groups = table(["paid for minus not paid for", "people", "gap", "p", "P(yes)", "truth"], lines)
    everyone = [*here, *before]
    rank = stats.spearmanr([one.auc for one in everyone], [one.paid.gap for one in everyone])
    people = len({one.annotator for one in everyone})
    last = f"Over the {len(everyone)} tastes of {people} people under `{PAID}` the rank correlation of AUC and gap is "
    return f"{each}\n\n{groups}\n\n{last}{rank.statistic:+.2f} (p {rank.pvalue:.3f})."


def _cells(taste: Taste) -> list[str]:
    return [
        "-" if row is None else f"{getattr(row, figure):+.3f}"
        for row in (taste.paid, taste.unpaid)
        for figure in ("rise", "truth", "gap")
    ]


@plain_errors
def main() -> None:
    look(__doc__, "criteria.csv", Found, of_run, tables)


if __name__ == "__main__":
    main()
