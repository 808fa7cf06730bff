"""The same footing for two arms: where on their way runs are compared, and what their accuracy was there."""

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
class Accuracy:
    """Held-out strict accuracy of a run at one place. by_prompt: of each prompt, 0 or 1, or between where two measurements are
    interpolated; empty where only the mean is known."""

    mean: float
    by_prompt: Mapping[str, float]


def of_heldout(run: Run, when: Literal["before", "after"]) -> Accuracy | None:
    """Before or after training, on all held-out prompts."""
    mean = run.before if when == "before" else run.after
    if mean is None:
        return None
    scores = ((p, p.before if when == "before" else p.after) for p in run.heldout if p.split == "heldout")
    # By text, too: another file of prompts may have the same ids.
    return Accuracy(mean, {f"{p.prompt_id} {p.text}": float(score.strict) for p, score in scores if score is not None})


def reached(run: Run, condition: str) -> float | None:
    """The most of it that a run has at any of its measurements; None without measurements."""
    return max((x for x, _ in _measured(run, condition)), default=None)


def accuracy_at(run: Run, condition: str, at: float) -> Accuracy | None:
    """Where the run first has so many images, judge calls or nats of KL, on the line between the measurements before and after;
    None if it never has."""
    points = list(_measured(run, condition))
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


def accuracy(run: Run, condition: str, at: float | None) -> Accuracy | None:
    """See `of_heldout` and `accuracy_at`."""
    if condition == END:
        return of_heldout(run, "after")
    return None if at is None else accuracy_at(run, condition, at)


def _measured(run: Run, condition: str) -> Iterator[tuple[float, ProgressPoint]]:
    for point in run.progress:
        x = FIELDS[condition](point)
        if x is not None:
            yield float(x), point


def _between(a: ProgressPoint, b: ProgressPoint, share: float) -> Accuracy:
    both = [prompt for prompt in a.strict_by_prompt if prompt in b.strict_by_prompt]
    by_prompt = {p: (1 - share) * a.strict_by_prompt[p] + share * b.strict_by_prompt[p] for p in both}
    return Accuracy((1 - share) * a.strict + share * b.strict, by_prompt)
