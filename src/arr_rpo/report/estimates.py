"""What a measure was of each run at one place of its way, and means over an arm's seeds, each with two intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from arr_rpo.report import statistics as st
from arr_rpo.report.analysis import END, EQUAL_CALLS, EQUAL_IMAGES, MATCHED_KL, ArmResult, Estimate, Interval
from arr_rpo.report.study import ProgressPoint, Run, Study

ONE_SEED = "one seed: the interval is over prompts only"
ONE_SEED_ALONE = "one seed: no interval"
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


# -- means over seeds ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparing:
    """confidence: of intervals; 1 - confidence is the level at which corrected p-values are read. draws, seed: of the
    bootstrap. kl: at which KL runs are matched; None takes for each pair of arms the largest that all their runs reach."""

    confidence: float
    draws: int
    seed: int
    kl: float | None


def estimate(values_SP: st.Floats, how: Comparing) -> Estimate:
    """The mean over S seeds of the means over P prompts; P is 1 where only the runs' means are known."""
    seeds, prompts = values_SP.shape
    t, bootstrap, note = None, None, ""
    if seeds > 1:
        t = Interval(*st.t_interval(values_SP.mean(axis=1).tolist(), how.confidence))
    if seeds > 1 or prompts > 1:
        bootstrap = Interval(*st.bootstrap_interval(st.bootstrap_means(values_SP, how.draws, how.seed), how.confidence))
    if seeds == 1:
        note = ONE_SEED if prompts > 1 else ONE_SEED_ALONE
    return Estimate(float(values_SP.mean()), seeds, t, bootstrap, note)


def by_seed_and_prompt(found: Sequence[Held]) -> st.Floats:
    """(S, P) values on the prompts that all S runs have, or (S, 1) means where a run has none."""
    prompts = [p for p in found[0].by_prompt if all(p in one.by_prompt for one in found)]
    if not prompts:
        return np.array([[one.mean] for one in found])
    return np.array([[one.by_prompt[p] for p in prompts] for one in found])


def less(a: Held, b: Held) -> Held:
    """a - b, prompt by prompt."""
    both = {p: value - b.by_prompt[p] for p, value in a.by_prompt.items() if p in b.by_prompt}
    return Held(a.mean - b.mean, both)


def one_a_seed(runs: Sequence[Run]) -> dict[int, Run]:
    """The first finished run of each seed. A run without a seed has no partner, and is left out."""
    found: dict[int, Run] = {}
    for run in runs:
        if run.finished and run.seed is not None:
            found.setdefault(run.seed, run)
    return found


def arm_result(study: Study, arm: str, measure: str, how: Comparing) -> ArmResult:
    runs = one_a_seed(study.of(arm))
    names = dict.fromkeys(name for run in runs.values() for name in run.measures.get(measure, {}).get("figures") or {})
    figures = {name: _figure(runs, _figure_after(measure, name), how) for name in names}
    return ArmResult(
        arm=arm,
        seeds=tuple(runs),
        before=_held(runs, lambda run: of_heldout(run, measure, "before"), how),
        after=_held(runs, lambda run: of_heldout(run, measure, "after"), how),
        change=_held(runs, lambda run: _change(run, measure), how),
        kl=_figure(runs, lambda run: run.kl, how),
        images=_figure(runs, lambda run: run.images, how),
        judge_calls=_figure(runs, lambda run: run.judge_calls, how),
        seconds=_figure(runs, lambda run: run.seconds, how),
        figures_after={name: figure for name, figure in figures.items() if figure is not None},
    )


def _held(runs: Mapping[int, Run], of: Callable[[Run], Held | None], how: Comparing) -> Estimate | None:
    known = [found for found in map(of, runs.values()) if found is not None]
    return estimate(by_seed_and_prompt(known), how) if known else None


def _figure(runs: Mapping[int, Run], of: Callable[[Run], float | None], how: Comparing) -> Estimate | None:
    known = [found for found in map(of, runs.values()) if found is not None]
    return estimate(np.array(known)[:, None], how) if known else None


def _change(run: Run, measure: str) -> Held | None:
    before, after = of_heldout(run, measure, "before"), of_heldout(run, measure, "after")
    return less(after, before) if before and after else None


def _figure_after(measure: str, name: str) -> Callable[[Run], float | None]:
    return lambda run: run.mean(measure, "after", name)
