"""What the runs of a study show: each arm over its seeds, arms against each other on the same footing, and orders of arms.

A claim that the data do not carry is "not shown"; arms that cannot be compared have "no data". Neither is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np

from arr_rpo.report import statistics as st
from arr_rpo.report.analysis import CONDITIONS, END, MATCHED_KL, Analysis, Comparison, OrderClaim
from arr_rpo.report.estimates import (
    Comparing,
    Held,
    arm_result,
    by_seed_and_prompt,
    ends_at,
    estimate,
    held,
    less,
    of_heldout,
    one_a_seed,
    reached,
)
from arr_rpo.report.sentences import amount, verdict
from arr_rpo.report.study import Run, Study

SAME = 1e-9  # differences of shares that are rounding
METHODS = (
    "Arms are compared by a held-out measure, by differences that are paired by seed and, within a seed, by prompt: all arms "
    "draw the held-out pictures from the same noise.",
    "Each mean has two intervals, whose outer limits are shown: Student's t over seeds, which takes the prompts as given, and "
    "a percentile bootstrap that draws both seeds and prompts (Owen 2007, The pigeonhole bootstrap, Annals of Applied "
    "Statistics 1, 386-411). It counts the noise of single pictures more than once, so that a small effect may go unshown. "
    "Likewise the larger of the two p-values counts.",
    "p-values are corrected over all comparisons of one condition and measure (Holm 1979, Scandinavian Journal of Statistics "
    "6, 65-70); the intervals are not.",
    "An order of arms is shown if each of its links is (an intersection-union test: Berger 1982, Technometrics 24, 295-300).",
    "At equal images, equal judge calls and matched KL, the measure is that on the prompts measured during training, on the "
    "line between two measurements, at the largest number that all runs of the two arms reach and where each reaches it first. "
    "Where all of them ended with the same number of images or calls, it is that on all held-out prompts.",
    "With one seed nothing is claimed: its interval is over prompts only. Runs that did not end are in no comparison.",
)

NO_SPREAD = "the same in each seed, so that nothing says how sure it is"


def analyses(study: Study, how: Comparing) -> tuple[Analysis, ...]:
    """Everything that a report says of a study, by each measure; by none where nothing was measured."""
    return tuple(analyse(study, measure, how) for measure in study.measures or ("",))


def analyse(study: Study, measure: str, how: Comparing) -> Analysis:
    """Everything that one measure says of a study."""
    pairs = pairs_of(study)
    comparisons: list[Comparison] = []
    for condition in CONDITIONS:
        comparisons += corrected([compare(study, arm, reference, measure, condition, how) for arm, reference in pairs], how)
    claims = [
        order(claim, condition, [c for c in comparisons if c.condition == condition])
        for claim in study.claims
        for condition in CONDITIONS
    ]
    arms = tuple(arm_result(study, arm, measure, how) for arm in study.arms)
    return Analysis(measure, arms, tuple(comparisons), tuple(claims), how.confidence, METHODS)


def pairs_of(study: Study) -> list[tuple[str, str]]:
    """Links of the claims, pairs that the study names, and every arm against the reference, each once, as it is first named;
    and all pairs, where no run is of both arms of any of these."""
    named = [link for claim in study.claims for link in pairwise(claim)] + list(study.pairs)
    if study.reference is not None:
        named += [(arm, study.reference) for arm in study.arms if arm != study.reference]
    if not any({arm, reference} <= set(study.arms) for arm, reference in named):
        named += [(arm, reference) for reference, arm in combinations(study.arms, 2)]
    once: dict[frozenset[str], tuple[str, str]] = {}
    for pair in named:
        once.setdefault(frozenset(pair), pair)
    return list(once.values())


def compare(study: Study, arm: str, reference: str, measure: str, condition: str, how: Comparing) -> Comparison:
    """One comparison, before any correction."""
    ours, theirs = one_a_seed(study.of(arm)), one_a_seed(study.of(reference))
    limits = [f"{run.name} did not end" for name in (arm, reference) for run in study.of(name) if not run.finished]
    at, where = None, condition
    if condition != END:
        shared = [some[seed] for some in (ours, theirs) for seed in some if seed in ours and seed in theirs]
        at = place(shared, measure, condition, how, limits)
        if ends_at(shared, condition, at):
            where = END
    known = {arm: _known(ours, measure, where, at), reference: _known(theirs, measure, where, at)}
    seeds = sorted(set(known[arm]) & set(known[reference]))
    alone = [f"seed {seed} of {name}" for name, some in known.items() for seed in some if seed not in seeds]
    limits += [f"{', '.join(alone)}: no partner"] if alone else []
    if condition == END:
        limits += unmeasured({arm: ours, reference: theirs}, known)
        limits += different_starts(ours, theirs, measure, seeds)
    bare = Comparison(arm, reference, condition, at, None, tuple(seeds), 0, None, None, "no data", "", tuple(limits))
    return _paired(bare, known[arm], known[reference], how) if seeds else bare


def _known(runs: Mapping[int, Run], measure: str, condition: str, at: float | None) -> dict[int, Held]:
    """By seed, of the runs that have it."""
    found = {seed: held(run, measure, condition, at) for seed, run in runs.items()}
    return {seed: one for seed, one in found.items() if one is not None}


def _paired(bare: Comparison, ours: Mapping[int, Held], theirs: Mapping[int, Held], how: Comparing) -> Comparison:
    """The same with the difference, paired by seed and prompt, and its p-value."""
    differences_SP = by_seed_and_prompt([less(ours[seed], theirs[seed]) for seed in bare.seeds])
    prompts = differences_SP.shape[1] if differences_SP.shape[1] > 1 else 0
    most = max(len(one.by_prompt) for one in [*ours.values(), *theirs.values()])
    limits = bare.limits
    if prompts < most:
        limits += (f"paired on {prompts} of {most} prompts: the others were not measured in all runs",)
    difference, several = estimate(differences_SP, how), len(bare.seeds) > 1
    p: float | None = None
    if several and not prompts and np.ptp(differences_SP) < SAME:
        difference = dataclasses.replace(difference, note=NO_SPREAD)
    elif several:
        means = st.bootstrap_means(differences_SP, how.draws, how.seed)
        p = max(st.t_p_value(differences_SP.mean(axis=1).tolist()), st.bootstrap_p_value(means))
    return dataclasses.replace(bare, difference=difference, prompts=prompts, p=p, limits=limits)


def place(runs: Sequence[Run], measure: str, condition: str, how: Comparing, limits: list[str]) -> float | None:
    """Where these runs are compared: the most that all of those reach which were measured; the others are named in `limits`."""
    most = {run.name: reached(run, measure, condition) for run in runs}
    limits += [f"{name}: not measured during training" for name, value in most.items() if value is None]
    known = {name: value for name, value in most.items() if value is not None}
    if condition == MATCHED_KL and how.kl is not None:
        never = {name: amount(condition, value) for name, value in known.items() if value < how.kl}
        limits += [f"{name} never reaches {amount(condition, how.kl)}, only {value}" for name, value in never.items()]
        return how.kl
    if not known:
        return None
    least = min(known, key=lambda name: known[name])
    if known[least] <= 0:
        limits.append(f"{least} stays at {amount(condition, 0)}")
        return None
    if max(known.values()) > known[least]:
        limits.append(f"{least} reaches no more; others reach up to {amount(condition, max(known.values()))}")
    return known[least]


def unmeasured(finished: Mapping[str, Mapping[int, Run]], known: Mapping[str, Mapping[int, Held]]) -> list[str]:
    """A sentence on the arms with finished runs that do not have the measure."""
    without = [name for name, runs in finished.items() if set(runs) - set(known[name])]
    return [f"{' and '.join(without)} was not measured on held-out prompts"] if without else []


def different_starts(ours: Mapping[int, Run], theirs: Mapping[int, Run], measure: str, seeds: Sequence[int]) -> list[str]:
    """A sentence if the arms do not start from the same base."""
    for seed in seeds:
        a, b = (of_heldout(some[seed], measure, "before") for some in (ours, theirs))
        if a and b and abs(a.mean - b.mean) > SAME:
            return [f"the arms start from different values ({a.mean:.3f} and {b.mean:.3f} with seed {seed})"]
    return []


def corrected(comparisons: Sequence[Comparison], how: Comparing) -> list[Comparison]:
    """The same with `p_holm`, `result` and `verdict`, corrected over all of them."""
    tested = [c for c in comparisons if c.p is not None]
    adjusted = dict(zip(map(id, tested), st.holm([c.p for c in tested if c.p is not None]), strict=True))
    return [_judged(dataclasses.replace(c, p_holm=adjusted.get(id(c))), 1 - how.confidence) for c in comparisons]


def _judged(c: Comparison, level: float) -> Comparison:
    result = c.result
    if c.difference is not None:
        carried = c.p_holm is not None and c.p_holm <= level
        result = "not shown" if not carried else "shown" if c.difference.value > 0 else "reversed"
    return dataclasses.replace(c, result=result, verdict=verdict(c, result))


# -- orders ----------------------------------------------------------------------------------------------------------------


def order(arms: Sequence[str], condition: str, comparisons: Sequence[Comparison]) -> OrderClaim:
    """An order as one claim, from the corrected comparisons of its links, which may stand the other way round among them."""
    links = tuple(_link(better, worse, comparisons) for better, worse in pairwise(arms))
    results = [link.result for link in links]
    result = next((r for r in ("reversed", "no data", "not shown") if r in results), "shown")
    known = [link.p_holm for link in links if link.p_holm is not None]
    p = max(known) if len(known) == len(links) else None
    claim = f"{' > '.join(arms)}{f' at {condition}' if condition != END else ''}"
    whole = {"shown": "shown as a whole", "reversed": "does not hold"}.get(result, f"{result} as a whole")
    return OrderClaim(
        tuple(arms), condition, links, p, result, f"{claim}: {whole}. " + "; ".join(link.verdict for link in links)
    )


def _link(better: str, worse: str, comparisons: Sequence[Comparison]) -> Comparison:
    for c in comparisons:
        if (c.arm, c.reference) == (better, worse):
            return c
    return _turned(next(c for c in comparisons if (c.arm, c.reference) == (worse, better)))


def _turned(c: Comparison) -> Comparison:
    """The same comparison, told from the other arm."""
    d = c.difference
    if d is not None:
        t, bootstrap = [i and dataclasses.replace(i, low=-i.high, high=-i.low) for i in (d.t, d.bootstrap)]
        d = dataclasses.replace(d, value=-d.value, t=t, bootstrap=bootstrap)
    result = {"shown": "reversed", "reversed": "shown"}.get(c.result, c.result)
    turned = dataclasses.replace(c, arm=c.reference, reference=c.arm, difference=d, result=result)
    return dataclasses.replace(turned, verdict=verdict(turned, result))
