"""Means over an arm's seeds, each with two intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arr_rpo.report import statistics as st
from arr_rpo.report.conditions import Held, of_heldout
from arr_rpo.report.records import ArmResult, Estimate, Interval, Run, Study

ONE_SEED = "one seed: the interval is over prompts only"
ONE_SEED_ALONE = "one seed: no interval"


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
