"""The figures of a refinement: what the oracle says of the pictures that were kept, and of those that might have been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from arr_rpo.evaluation.bootstrap import Figure, Resampling, share
from arr_rpo.refinement.base import best
from arr_rpo.refinement.records import Row

MEASURES = ("strict", "criteria")
MOST_REASONS = 5


def summary(rows: Sequence[Row], how: Resampling) -> dict[str, Any]:
    """grade: see `grades`. oracle: see `choices`, over the prompts that it knows; None where it knows none.

    rounds: how many prompts took so many. ungraded: prompts without any grade, whose first picture is kept.
    """
    attempts = [attempt for row in rows for attempt in row["attempts"]]
    known = [row for row in rows if row["attempts"][0]["oracle"] is not None]
    return {
        "prompts": len(rows),
        "pictures": len(attempts),
        "rounds": dict(sorted(Counter(len(row["attempts"]) for row in rows).items())),
        "ungraded": sum(_kept(row)["grade"] is None for row in rows),
        **_counted("critiques_failed", [attempt["failure"] for attempt in attempts if attempt["grade"] is None]),
        **_counted("texts_unread", [attempt["unread"] for attempt in attempts if attempt["unread"]]),
        "calls": sum(attempt["calls"] for attempt in attempts),
        "tokens": sum(attempt["tokens"] for attempt in attempts),
        "grade": {name: asdict(figure) for name, figure in grades(rows, how).items()},
        "oracle": {m: {name: asdict(f) for name, f in choices(known, m, how).items()} for m in MEASURES} if known else None,
    }


def grades(rows: Sequence[Row], how: Resampling) -> dict[str, Figure]:
    """Means of the judge's grades of the first and of the kept pictures, over prompts whose first picture has one. The latter
    rises by being chosen, whatever the judge is worth."""
    both = [row for row in rows if row["attempts"][0]["grade"] is not None]
    series = {"first": [r["attempts"][0]["grade"] for r in both], "kept": [_kept(r)["grade"] for r in both]}
    return {name: _mean(values, both, how) for name, values in series.items()}


def choices(rows: Sequence[Row], measure: str, how: Resampling) -> dict[str, Figure]:
    """Means over prompts of what the oracle says, by who chooses among the same pictures of each prompt:

    first: the picture of round 1. kept: the judge. random: nobody, the mean of the pictures. oracle_choice: the oracle, the
    most that any judge could get. The differences are paired by prompt. after_round_k: the judge among the first k pictures.
    """
    said = [[float(attempt["oracle"][measure]) for attempt in row["attempts"]] for row in rows]
    kept = [values[row["kept"]] for row, values in zip(rows, said, strict=True)]
    series: dict[str, Sequence[float]] = {
        "first": [values[0] for values in said],
        "kept": kept,
        "random": [sum(values) / len(values) for values in said],
        "oracle_choice": [max(values) for values in said],
    }
    for other in ("first", "random"):
        series[f"kept_minus_{other}"] = [a - b for a, b in zip(kept, series[other], strict=True)]
    series["oracle_choice_minus_kept"] = [a - b for a, b in zip(series["oracle_choice"], kept, strict=True)]
    for rounds in range(2, max(map(len, said))):  # after 1 it is the first, after all the kept one
        chosen = [best([attempt["grade"] for attempt in row["attempts"][:rounds]]) for row in rows]
        series[f"after_round_{rounds}"] = [values[i] for values, i in zip(said, chosen, strict=True)]
    return {name: _mean(values, rows, how) for name, values in series.items()}


def _kept(row: Row) -> Row:
    attempt: Row = row["attempts"][row["kept"]]
    return attempt


def _mean(values: Sequence[float], rows: Sequence[Row], how: Resampling) -> Figure:
    return share(values, [1.0] * len(values), [row["prompt_id"] for row in rows], how)


def _counted(name: str, reasons: Sequence[str]) -> Mapping[str, Any]:
    return {name: len(reasons), f"{name}_why": dict(Counter(reasons).most_common(MOST_REASONS))}
