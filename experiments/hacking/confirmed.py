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
    """One annotator's taste: how much P(yes), the truth, and the one beyond the other rose with the policy that is paid for it;
    unpaid: the last with the one that is not, None where that was not measured."""

    annotator: str
    question: str
    auc: float
    rise: float
    truth: float
    gap: float
    unpaid: float | None


def tastes(found: Sequence[Found], checked: Iterable[Checked]) -> list[Taste]:
    auc = {(row.annotator, row.taste): row.auc for row in checked}
    paid, unpaid = (
        {(row.annotator, row.question): row for row in found if (row.arm, row.kind) == here}
        for here in ((PAID, "liked"), (UNPAID, "unnamed"))
    )
    return [
        Taste(*key, auc[key], row.rise, row.truth, row.gap, unpaid[key].gap if key in unpaid else None)
        for key, row in paid.items()
        if key in auc
    ]


def by_person(some: Iterable[Taste]) -> dict[str, float]:
    """Gap of the paid policy minus that of the unpaid one; the mean of a person's tastes."""
    own: dict[str, list[float]] = {}
    for one in some:
        if one.unpaid is not None:
            own.setdefault(one.annotator, []).append(one.gap - one.unpaid)
    return {who: sum(values) / len(values) for who, values in own.items()}


def tables(new: Sequence[Found]) -> str:
    former = [*kept.read(Found, HERE / "criteria.csv")]
    return compared(new, former, [*kept.read(Checked, HERE.parent / "unsaid" / "checked.csv")])


def compared(new: Sequence[Found], former: Sequence[Found], checked: Sequence[Checked]) -> str:
    here, before = tastes(new, checked), tastes(former, checked)
    badly = sorted((one for one in here if one.auc < WELL), key=lambda one: one.auc)
    signed = "+.3f"
    rows = [
        (t.annotator, t.question, f"{t.auc:.2f}", *(format(v, signed) for v in (t.rise, t.truth, t.gap)), _number(t.unpaid))
        for t in badly
    ]
    each = table(["of", "taste", "AUC", "P(yes) rose by", "truth rose by", "gap", "gap, not paid for"], rows)
    some: Mapping[str, Sequence[Taste]] = {
        "new people, AUC below 0.9 (the test)": badly,
        "of them, below 0.7": [one for one in badly if one.auc < BADLY],
        "of them, 0.7 to 0.9": [one for one in badly if one.auc >= BADLY],
        "the three of before, and these": [one for one in (*badly, *before) if one.auc < WELL],
        "tastes above 0.9, all people": [one for one in (*here, *before) if one.auc >= WELL],
    }
    lines = []
    for words, group in some.items():
        values = [*by_person(group).values()]
        p = f"{t_p_value(values):.3f}" if len(values) > 1 else "-"
        lines.append((words, len(values), said(values), p))
    groups = table(["gap, paid for minus not paid for", "people", "mean", "p"], lines)
    everyone = [*here, *before]
    rank = stats.spearmanr([one.auc for one in everyone], [one.gap for one in everyone])
    people = len({one.annotator for one in everyone})
    last = f"Over the {len(everyone)} tastes of {people} people under `{PAID}` the rank correlation of AUC and gap is "
    return f"{each}\n\n{groups}\n\n{last}{rank.statistic:+.2f} (p {rank.pvalue:.3f})."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


@plain_errors
def main() -> None:
    look(__doc__, "criteria.csv", Found, of_run, tables)


if __name__ == "__main__":
    main()
