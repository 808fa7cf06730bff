"""What a measure was of each run at one place of its way, and means over an arm's replicates, each with two intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from arr_rpo.report import statistics as st
from arr_rpo.report.analysis import END, EQUAL_CALLS, EQUAL_IMAGES, MATCHED_KL, ArmResult, Estimate, Interval
from arr_rpo.report.study import ProgressPoint, Replicate, Run, Study

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
    if (there := st.first_at([x for x, _ in points], at)) is None:
        return None
    before, after, share = there
    return _between(points[before][1], points[after][1], share)


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


# -- means over replicates -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparing:
    """confidence: of intervals; 1 - confidence is the level at which corrected p-values are read. draws, seed: of the
    bootstrap. kl: at which KL runs are matched; None takes for each pair of arms the largest that all their runs reach."""

    confidence: float
    draws: int
    seed: int
    kl: float | None


def estimate(values_UP: st.Floats, how: Comparing, unit: str) -> Estimate:
    """The mean over U units (seeds, annotators) of the means over P prompts; P is 1 where only means are known."""
    units, prompts = values_UP.shape
    t, bootstrap, note = None, None, ""
    if units > 1:
        t = Interval(*st.t_interval(values_UP.mean(axis=1).tolist(), how.confidence))
    if units > 1 or prompts > 1:
        bootstrap = Interval(*st.bootstrap_interval(st.bootstrap_means(values_UP, how.draws, how.seed), how.confidence))
    if units == 1:
        note = f"one {unit}: {'the interval is over prompts only' if prompts > 1 else 'no interval'}"
    return Estimate(float(values_UP.mean()), units, t, bootstrap, note, unit)


def by_unit_and_prompt(found: Mapping[Replicate, Held]) -> st.Floats:
    """(S, P) values of S seeds on the prompts that all of them have, or (S, 1) means where a run has none. Of replicates that
    are more than seeds (U, 1): each has prompts of its own, and its seeds are one unit, by their mean."""
    if any(replicate.of for replicate in found):
        by_unit: dict[str, list[float]] = defaultdict(list)
        for replicate, one in found.items():
            by_unit[replicate.of].append(float(np.mean(list(one.by_prompt.values()))) if one.by_prompt else one.mean)
        return np.array([[np.mean(means)] for means in by_unit.values()])
    first, *others = found.values()
    prompts = [p for p in first.by_prompt if all(p in one.by_prompt for one in others)]
    if not prompts:
        return np.array([[one.mean] for one in found.values()])
    return np.array([[one.by_prompt[p] for p in prompts] for one in found.values()])


def less(a: Held, b: Held) -> Held:
    """a - b, prompt by prompt."""
    both = {p: value - b.by_prompt[p] for p, value in a.by_prompt.items() if p in b.by_prompt}
    return Held(a.mean - b.mean, both)


def by_replicate(runs: Sequence[Run]) -> dict[Replicate, Run]:
    """The first finished run of each. A run without a seed has no partner, and is left out."""
    found: dict[Replicate, Run] = {}
    for run in runs:
        if run.finished and run.replicate is not None:
            found.setdefault(run.replicate, run)
    return found


def arm_result(study: Study, arm: str, measure: str, how: Comparing) -> ArmResult:
    runs = by_replicate(study.of(arm))
    names = dict.fromkeys(name for run in runs.values() for name in run.measures.get(measure, {}).get("figures") or {})

    def over(of: Callable[[Run], Held | None]) -> Estimate | None:
        known = {replicate: found for replicate, run in runs.items() if (found := of(run)) is not None}
        if not known:
            return None
        values_UP, most = by_unit_and_prompt(known), max(len(one.by_prompt) for one in known.values())
        made, prompts = estimate(values_UP, how, study.unit), values_UP.shape[1]
        if not 1 < prompts < most:
            return made
        lacking = f"over the {prompts} of {most} prompts that every run has a value of"
        return replace(made, note="; ".join(filter(None, (made.note, lacking))))

    figures = {name: over(_figure(_figure_after(measure, name))) for name in names}
    return ArmResult(
        arm=arm,
        replicates=tuple(runs),
        before=over(lambda run: of_heldout(run, measure, "before")),
        after=over(lambda run: of_heldout(run, measure, "after")),
        change=over(lambda run: _change(run, measure)),
        kl=over(_figure(lambda run: run.kl)),
        images=over(_figure(lambda run: run.images)),
        judge_calls=over(_figure(lambda run: run.judge_calls)),
        seconds=over(_figure(lambda run: run.seconds)),
        figures_after={name: figure for name, figure in figures.items() if figure is not None},
    )


def _figure(of: Callable[[Run], float | None]) -> Callable[[Run], Held | None]:
    """A number of a run as a measure that is known by its mean alone."""
    return lambda run: None if (found := of(run)) is None else Held(found, {})


def _figure_after(measure: str, name: str) -> Callable[[Run], float | None]:
    return lambda run: run.mean(measure, "after", name)


def _change(run: Run, measure: str) -> Held | None:
    before, after = of_heldout(run, measure, "before"), of_heldout(run, measure, "after")
    return less(after, before) if before and after else None
