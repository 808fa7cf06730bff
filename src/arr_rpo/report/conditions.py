"""The same footing for two arms: where on their way runs are compared, and what a measure was there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from arr_rpo.report.records import END, EQUAL_CALLS, EQUAL_IMAGES, MATCHED_KL, ProgressPoint, Run

FIELDS: Mapping[str, Callable[[ProgressPoint], float | None]] = {
    EQUAL_IMAGES: lambda point: point.images,
    EQUAL_CALLS: lambda point: point.judge_calls,
    MATCHED_KL: lambda point: point.kl,
}


@dataclass(frozen=True)
class Held:
    """A held-out measure of a run at one place. by_prompt: of each prompt, between two measurements interpolated; empty where
    only the mean is known."""

    mean: float
    by_prompt: Mapping[str, float]


def of_heldout(run: Run, measure: str, when: Literal["before", "after"]) -> Held | None:
    """Before or after training, on all held-out prompts."""
    mean = run.mean(measure, when)
    if mean is None:
        return None
    found = ((p, (p.before if when == "before" else p.after).get(measure)) for p in run.heldout if p.split == "heldout")
    # By text, too: another file of prompts may have the same ids.
    return Held(mean, {f"{p.prompt_id} {p.text}": one.value for p, one in found if one is not None and one.value is not None})


def reached(run: Run, measure: str, condition: str) -> float | None:
    """The most of it that a run has at any of its measurements; None without measurements."""
    return max((x for x, _ in _measured(run, measure, condition)), default=None)


def held_at(run: Run, measure: str, condition: str, at: float) -> Held | None:
    """Where the run first has so many images, judge calls or nats of KL, on the line between the measurements before and after;
    None if it never has."""
    points = list(_measured(run, measure, condition))
    if points and points[0][0] >= at:
        return _between(points[0][1], points[0][1], 0.0)
    for (x0, before), (x1, after) in pairwise(points):
        if x0 < at <= x1:
            return _between(before, after, (at - x0) / (x1 - x0))
    return None


def ends_at(runs: Iterable[Run], condition: str, at: float | None) -> bool:
    """Whether all of them ended with just so many images or judge calls, so that what was measured in the end counts: it is of
    more prompts. (Path KL is measured on fewer prompts on the way than in the end, and is not the same number.)"""
    if condition == EQUAL_IMAGES:
        return at is not None and all(run.images == at for run in runs)
    return condition == EQUAL_CALLS and at is not None and all(run.judge_calls == at for run in runs)


def held(run: Run, measure: str, condition: str, at: float | None) -> Held | None:
    """See `of_heldout` and `held_at`."""
    if condition == END:
        return of_heldout(run, measure, "after")
    return None if at is None else held_at(run, measure, condition, at)


def _measured(run: Run, measure: str, condition: str) -> Iterator[tuple[float, Held]]:
    for point in run.progress:
        x, found = FIELDS[condition](point), point.measures.get(measure)
        if x is not None and found is not None and found.value is not None:
            yield float(x), Held(found.value, found.by_prompt)


def _between(a: Held, b: Held, share: float) -> Held:
    by_prompt = {p: (1 - share) * a.by_prompt[p] + share * b.by_prompt[p] for p in a.by_prompt if p in b.by_prompt}
    return Held((1 - share) * a.mean + share * b.mean, by_prompt)
