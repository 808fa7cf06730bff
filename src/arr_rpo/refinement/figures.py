"""The figures of a refinement: what measures say of the pictures that were kept, and of those that might have been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from arr_rpo.evaluation.bootstrap import Figure, Resampling, share
from arr_rpo.refinement.base import best
from arr_rpo.refinement.records import Row

MOST_REASONS = 5


def summary(rows: Sequence[Row], how: Resampling) -> dict[str, Any]:
    """grade: see `grades`. measured: see `choices`, for each measure and each of its figures that all pictures have, over the
    prompts that it knows.

    rounds: how many prompts took so many. ungraded: prompts without any grade, whose first picture is kept.
    """
    attempts = [attempt for row in rows for attempt in row["attempts"]]
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
        "measured": {name: {of: asdict(f) for of, f in choices(*found, how).items()} for name, found in measured(rows).items()},
    }


def grades(rows: Sequence[Row], how: Resampling) -> dict[str, Figure]:
    """Means of the judge's grades of the first and of the kept pictures, over prompts whose first picture has one. The latter
    rises by being chosen, whatever the judge is worth."""
    both = [row for row in rows if row["attempts"][0]["grade"] is not None]
    series = {"first": [r["attempts"][0]["grade"] for r in both], "kept": [_kept(r)["grade"] for r in both]}
    return {name: _mean(values, both, how) for name, values in series.items()}


def measured(rows: Sequence[Row]) -> dict[str, tuple[Sequence[Row], Sequence[Sequence[float]]]]:
    """By the name of a measure, or "measure/figure": rows of which all pictures have it, and what it says of each."""
    said = [[{n: _named(n, value) for n, value in attempt["measured"].items()} for attempt in row["attempts"]] for row in rows]
    flat = [[{k: v for named in one.values() for k, v in named.items()} for one in attempts] for attempts in said]
    names = dict.fromkeys(name for attempts in flat for one in attempts for name in one)
    found = {}
    for name in names:
        known = [
            (row, [one[name] for one in some]) for row, some in zip(rows, flat, strict=True) if all(name in one for one in some)
        ]
        if "/" not in name or len(known) == len(rows):
            found[name] = [row for row, _ in known], [values for _, values in known]
    return {name: both for name, both in found.items() if both[0]}


def _named(measure: str, value: Mapping[str, Any]) -> dict[str, float]:
    figures = {f"{measure}/{figure}": number for figure, number in value["figures"].items()}
    return figures if value["value"] is None else {measure: value["value"], **figures}


def choices(rows: Sequence[Row], said: Sequence[Sequence[float]], how: Resampling) -> dict[str, Figure]:
    """Means over prompts of what is `said` of each picture, by who chooses among the same pictures of each prompt:

    first: the picture of round 1. kept: the judge. random: nobody, the mean of the pictures. best: the measure itself, the
    most that any judge could get. The differences are paired by prompt. after_round_k: the judge among the first k pictures.
    """
    kept = [values[row["kept"]] for row, values in zip(rows, said, strict=True)]
    series: dict[str, Sequence[float]] = {
        "first": [values[0] for values in said],
        "kept": kept,
        "random": [sum(values) / len(values) for values in said],
        "best": [max(values) for values in said],
    }
    for other in ("first", "random"):
        series[f"kept_minus_{other}"] = [a - b for a, b in zip(kept, series[other], strict=True)]
    series["best_minus_kept"] = [a - b for a, b in zip(series["best"], kept, strict=True)]
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
