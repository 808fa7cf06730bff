"""`python -m experiments.unsaid.agreed FOLDER_OR_CSV... [--keep FILE.csv]`: the tables of `agreement.py`, with intervals over
annotators. `--keep` writes a row a cell, which this command reads in place of the folders."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.evaluation import bench_rows
from arr_rpo.evaluation.bench_figures import DECIDED
from arr_rpo.evaluation.bench_rows import file_of
from arr_rpo.report.statistics import holm, t_p_value
from arr_rpo.types import UserError
from arr_rpo.whole_files import write_text
from experiments.markdown import said, table

Row = dict[str, Any]
SUBSETS = {"agreement": None, "prompt alone": "prompt", "taste alone": "taste", "both": "both"}
PARTS = ("agreement", "prompt alone", "taste alone")

COLUMNS = (*SUBSETS, "coverage", "precision", "exact")
NAMED = ("annotator", "source", "pairs", "noise", "seed")  # what tells cells apart
ORDERS = [  # what is claimed, the better source and the other
    ("rubric over none", "own_weighted_listed", "pairwise"),
    ("rubric over scalar reward model", "own_weighted_listed", "reward_model"),
    ("refined over unrefined", "refined", "unrefined"),
    ("verified over unverified", "global", "unverified"),
    ("per prompt over global", "own_weighted_listed", "weighted_listed"),
    ("rubric over exemplars", "own_weighted_listed", "exemplars"),
]


def agreement(verdicts: Path, nothing: bool) -> dict[str, float | None]:
    """Share of the pairs that are called as the annotator calls them. One that is called equal, decided by the order or has no
    answer counts one half; a source that has no rubric in the end has a coin."""
    rows = [] if nothing else [*bench_rows.read(verdicts).values()]
    found: dict[str, float | None] = {}
    for name, subset in SUBSETS.items():
        said = [(one.verdict.outcome, one.better) for one in rows if subset in (None, one.subset)]
        right = [1.0 if outcome is better else 0.0 if outcome in DECIDED else 0.5 for outcome, better in said]
        found[name] = 0.5 if nothing else (sum(right) / len(right) if right else None)
    return found


def read(place: Path) -> Iterator[Row]:
    """Of a folder of `agreement.py`, or a file that was kept: `NAMED`, `COLUMNS`, and whether it has no rubric in the end."""
    if not place.is_dir():
        with place.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if lacking := [name for name in (*NAMED, "nothing", *COLUMNS) if name not in (rows.fieldnames or ())]:
                raise UserError(f"{place} has no column {lacking[0]!r}: give a file that `--keep` wrote")
            yield from map(_of_text, rows)
        return
    for path in sorted(place.glob("*/*/agreement.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        nothing = "nothing" in row
        said = {name: row.get(f"says_{name}", 0.0 if nothing else None) for name in ("coverage", "precision", "exact")}
        yield {name: row[name] for name in NAMED} | {"nothing": nothing, **agreement(file_of(path.parent), nothing), **said}


def _of_text(row: Mapping[str, str]) -> Row:
    numbers = {name: float(row[name]) if row[name] else None for name in COLUMNS}
    named = {"annotator": row["annotator"], "source": row["source"], "noise": float(row["noise"])}
    return {**named, "pairs": int(row["pairs"]), "seed": int(row["seed"]), "nothing": row["nothing"] == "True", **numbers}


def keep(rows: Iterable[Row], path: Path) -> None:
    text = io.StringIO()
    lines = csv.DictWriter(text, [*NAMED, "nothing", *COLUMNS], lineterminator="\n")
    lines.writeheader()
    lines.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    write_text(path, text.getvalue())


def once(rows: Iterable[Row]) -> list[Row]:
    """Each cell once, as it was last read."""
    return [*{tuple(row[name] for name in NAMED): row for row in rows}.values()]


def by_annotator(rows: Iterable[Row], column: str) -> dict[str, float]:
    """One figure an annotator, the mean over its seeds: those are what an interval is over."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if (one := row[column]) is not None:
            found[row["annotator"]].append(one)
    return {who: sum(some) / len(some) for who, some in found.items()}


def of(rows: Sequence[Row], source: str, pairs: int, column: str) -> dict[str, float]:
    """What a source says after so many right labels, or, where it learns from none, in any case; by annotator."""
    here = [row for row in rows if row["source"] == source and row["noise"] == 0]
    return by_annotator([row for row in here if row["pairs"] in (pairs, 0)], column)


def sources_table(rows: Sequence[Row]) -> str:
    groups: dict[tuple[str, float, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["source"], row["noise"], row["pairs"]].append(row)
    lines = []
    for (source, noise, pairs), some in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1], item[0][2])):
        values = [said([*by_annotator(some, column).values()], signed=False, digits=2) for column in COLUMNS]
        nothing = sum(row["nothing"] for row in some)
        lines.append([source, pairs or "-", f"{noise:.0%}", *values, f"{nothing} of {len(some)}"])
    return table(["source", "pairs", "wrong labels", *COLUMNS, "without a rubric"], lines)


def paired(rows: Sequence[Row], source: str, other: str, pairs: int, column: str) -> list[float]:
    """The differences of two sources after as many pairs, of annotators that both know."""
    ours, theirs = (of(rows, name, pairs, column) for name in (source, other))
    return [ours[who] - theirs[who] for who in ours if who in theirs]


def differences(rows: Sequence[Row], source: str) -> str:
    """Of one source against each other from as many pairs, or from none."""
    others = [name for name in dict.fromkeys(row["source"] for row in rows) if name not in (source, "annotator")]
    lines = [
        [other, pairs, *(said(paired(rows, source, other, pairs, column), digits=2) for column in PARTS)]
        for other, pairs in itertools.product(others, sizes(rows, source))
    ]
    return table([f"{source} minus", "pairs", *PARTS], lines)


def orders(rows: Sequence[Row]) -> str:
    """The orders that the paper claims, by agreement and in taste alone: shown, or reversed, where Student's t over annotators
    says so, corrected for their number by Holm."""
    found = [
        (f"{claim}: {better} > {worse}", pairs, column, paired(rows, better, worse, pairs, column))
        for (claim, better, worse), column in itertools.product(ORDERS, ("agreement", "taste alone"))
        for pairs in sizes(rows, better)
    ]
    found = [one for one in found if len(one[3]) > 1]
    adjusted = holm([t_p_value(values) for *_, values in found])
    lines = []
    for (claim, pairs, column, values), p in zip(found, adjusted, strict=True):
        result = "not shown" if p >= 0.05 else "shown" if sum(values) > 0 else "reversed"
        lines.append([claim, pairs, column, said(values, digits=2), f"{p:.3f}", result])
    return table(["order", "pairs", "of", "difference", "p, Holm", ""], lines)


def needed(rows: Sequence[Row], column: str, share: float = 0.8) -> str:
    """Of each source the number of pairs at which its mean has this share of what the annotator's own oracle has more than the
    judge by the prompt's own rubric, which learns from no pair; between two that were tried, by doublings."""
    nothing = of(rows, "prompt_rubric", 0, column)
    lines = []
    for source in dict.fromkeys(row["source"] for row in rows if row["pairs"]):
        shares = {}
        for pairs in sizes(rows, source):
            values = [(x - nothing[who], 1 - nothing[who]) for who, x in of(rows, source, pairs, column).items()]
            shares[pairs] = sum(gain for gain, _ in values) / sum(most for _, most in values)
        told = ", ".join(f"{pairs}: {gained:+.2f}" for pairs, gained in shares.items())
        lines.append([source, _crossing(shares, share), told])
    return table(["source", f"pairs for {share:.0%} of the oracle's gain, {column}", "its share by pairs"], lines)


def _crossing(shares: dict[int, float], share: float) -> str:
    counts = list(shares)
    if shares[counts[0]] >= share:
        return f"{counts[0]} or fewer"
    for less, more in itertools.pairwise(counts):
        if shares[less] < share <= shares[more]:
            part = (share - shares[less]) / (shares[more] - shares[less])
            return f"{less * (more / less) ** part:.0f}"
    return f"more than {counts[-1]}"


def sizes(rows: Sequence[Row], source: str) -> list[int]:
    return sorted({row["pairs"] for row in rows if row["source"] == source and row["noise"] == 0})


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--annotators", nargs="*", help="of these alone")
    parser.add_argument("--source", help="that is compared with each other one")
    given = parser.parse_args()
    rows = once(row for place in given.places for row in read(place))
    if given.annotators:
        rows = [row for row in rows if row["annotator"] in given.annotators]
    if given.keep:
        keep(rows, given.keep)
    known = [row["source"] for row in rows]
    mine = given.source or ("own_weighted_listed" if "own_weighted_listed" in known else "own_weighted")
    if mine not in known:
        raise UserError(f"--source {mine}: there is none; there are {', '.join(dict.fromkeys(known))}")
    print(sources_table(rows), differences(rows, mine), orders(rows), sep="\n\n")
    if any(row["source"] == "prompt_rubric" for row in rows):
        print("", needed(rows, "agreement"), needed(rows, "taste alone"), sep="\n\n")


if __name__ == "__main__":
    main()
