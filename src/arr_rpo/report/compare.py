"""What the runs of a study show: each arm over its replicates, arms against each other on the same footing, and orders of arms.

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
    by_replicate,
    by_unit_and_prompt,
    ends_at,
    estimate,
    held,
    less,
    of_heldout,
    reached,
)
from arr_rpo.report.sentences import amount, verdict
from arr_rpo.report.study import Replicate, Run, Study

Places = Mapping[Replicate, tuple[str, float | None]]  # condition, and where
SAME = 1e-9  # differences of shares that are rounding
SEEDS = (
    "Arms are compared by a held-out measure, by differences that are paired by seed and, within a seed, by prompt: all arms "
    "draw the held-out pictures from the same noise.",
    "Each mean has two intervals, whose outer limits are shown: Student's t over seeds, which takes the prompts as given, and "
    "a percentile bootstrap that draws both seeds and prompts (Owen 2007, The pigeonhole bootstrap, Annals of Applied "
    "Statistics 1, 386-411). It counts the noise of single pictures more than once, so that a small effect may go unshown. "
    "Likewise the larger of the two p-values counts.",
    "At equal images, equal judge calls and matched KL, the measure is that on the prompts measured during training, on the "
    "line between two measurements, at the largest number that all runs of the two arms reach and where each reaches it first. "
    "Where all of them ended with the same number of images or calls, it is that on all held-out prompts.",
    "With one seed nothing is claimed: its interval is over prompts only. Runs that did not end are in no comparison.",
)
REPLICATES = (
    "Arms are compared by a held-out measure, by differences that are paired by {unit} and seed and, within these, by prompt: "
    "all arms draw the held-out pictures from the same noise.",
    "What varies is the {unit}, each with prompts of its own: the mean over the seeds and prompts of one is one value. Each "
    "mean over {unit}s has two intervals, whose outer limits are shown: Student's t and a percentile bootstrap that draws "
    "{unit}s. Likewise the larger of the two p-values counts.",
    "At equal images, equal judge calls and matched KL, the measure is that on the prompts measured during training, on the "
    "line between two measurements, at the largest number that both runs of one {unit} and seed reach and where each reaches "
    "it first. Where both ended with the same number of images or calls, it is that on all held-out prompts.",
    "With one {unit} nothing is claimed. Runs that did not end are in no comparison.",
)
METHODS = (
    "p-values are corrected over all comparisons of one condition and measure (Holm 1979, Scandinavian Journal of Statistics "
    "6, 65-70); the intervals are not.",
    "An order of arms is shown if each of its links is (an intersection-union test: Berger 1982, Technometrics 24, 295-300).",
)


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
    own = [text.format(unit=study.unit) for text in REPLICATES] if study.replicates else SEEDS
    methods = (*own[:2], *METHODS, *own[2:])
    return Analysis(measure, arms, tuple(comparisons), tuple(claims), how.confidence, methods)


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
    ours, theirs = by_replicate(study.of(arm)), by_replicate(study.of(reference))
    limits = [f"{run.name} did not end" for name in (arm, reference) for run in study.of(name) if not run.finished]
    places: Places = dict.fromkeys([*ours, *theirs], (condition, None))
    if condition != END:
        together = [[one] for one in places] if study.replicates else [list(places)]
        places = _places(together, ours, theirs, measure, condition, how, limits)
    known = {name: _known(runs, measure, places) for name, runs in ((arm, ours), (reference, theirs))}
    both = sorted(set(known[arm]) & set(known[reference]))
    at = None if study.replicates else next((at for _, at in places.values()), None)
    alone = {name: "; ".join(str(one) for one in some if one not in both) for name, some in known.items()}
    limits += [f"{', '.join(f'{some} of {name}' for name, some in alone.items() if some)}: no partner"] * any(alone.values())
    if condition == END:
        limits += unmeasured({arm: ours, reference: theirs}, known)
        limits += different_starts(ours, theirs, measure, both)
    bare = Comparison(arm, reference, condition, at, None, tuple(both), 0, None, None, "no data", "", tuple(limits))
    return _paired(bare, known[arm], known[reference], how, study.unit) if both else bare


def _places(
    together: Sequence[Sequence[Replicate]],
    ours: Mapping[Replicate, Run],
    theirs: Mapping[Replicate, Run],
    measure: str,
    condition: str,
    how: Comparing,
    limits: list[str],
) -> Places:
    """For each replicate the condition by which its two runs are read, and where: those of one group at the same place. What
    limits one is said where there is but one, or where nothing can be compared."""
    found: dict[Replicate, tuple[str, float | None]] = {}
    for group in together:
        runs = [some[one] for some in (ours, theirs) for one in group if one in ours and one in theirs]
        said: list[str] = []
        at = place(runs, measure, condition, how, said)
        limits += said if len(together) == 1 or at is None else []
        found |= dict.fromkeys(group, (END if ends_at(runs, condition, at) else condition, at))
    return found


def _known(runs: Mapping[Replicate, Run], measure: str, places: Places) -> dict[Replicate, Held]:
    """Of the runs that have it."""
    found = {one: held(run, measure, *places[one]) for one, run in runs.items()}
    return {one: value for one, value in found.items() if value is not None}


def _paired(
    bare: Comparison, ours: Mapping[Replicate, Held], theirs: Mapping[Replicate, Held], how: Comparing, unit: str
) -> Comparison:
    """The same with the difference, paired by replicate and prompt, and its p-value."""
    differences = {one: less(ours[one], theirs[one]) for one in bare.replicates}
    differences_UP = by_unit_and_prompt(differences)
    prompts, most = _prompts(differences, differences_UP, ours, theirs)
    limits = bare.limits
    if prompts < most:
        limits += (f"paired on {prompts} of {most} prompts: the others were not measured in all runs",)
    difference, p = estimate(differences_UP, how, unit), None
    several, by_means = difference.units > 1, differences_UP.shape[1] == 1
    if several and by_means and np.ptp(differences_UP) < SAME:
        difference = dataclasses.replace(difference, note=f"the same in each {unit}, so that nothing says how sure it is")
    elif several:
        means = st.bootstrap_means(differences_UP, how.draws, how.seed)
        p = max(st.t_p_value(differences_UP.mean(axis=1).tolist()), st.bootstrap_p_value(means))
    return dataclasses.replace(bare, difference=difference, prompts=prompts, p=p, limits=limits)


def _prompts(
    differences: Mapping[Replicate, Held],
    differences_UP: st.Floats,
    ours: Mapping[Replicate, Held],
    theirs: Mapping[Replicate, Held],
) -> tuple[int, int]:
    """On how many prompts these are paired, and how many there are: of each seed, or of all replicates that have their own."""
    if any(one.of for one in differences):
        either = {(one.of, prompt) for some in (ours, theirs) for one in differences for prompt in some[one].by_prompt}
        return len({(one.of, prompt) for one, found in differences.items() for prompt in found.by_prompt}), len(either)
    most = max(len(one.by_prompt) for one in [*ours.values(), *theirs.values()])
    return (differences_UP.shape[1] if differences_UP.shape[1] > 1 else 0), most


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


def unmeasured(finished: Mapping[str, Mapping[Replicate, Run]], known: Mapping[str, Mapping[Replicate, Held]]) -> list[str]:
    """A sentence on the arms with finished runs that do not have the measure."""
    without = [name for name, runs in finished.items() if set(runs) - set(known[name])]
    return [f"{' and '.join(without)} was not measured on held-out prompts"] if without else []


def different_starts(
    ours: Mapping[Replicate, Run], theirs: Mapping[Replicate, Run], measure: str, both: Sequence[Replicate]
) -> list[str]:
    """A sentence if the arms do not start from the same base."""
    for one in both:
        a, b = (of_heldout(some[one], measure, "before") for some in (ours, theirs))
        if a and b and abs(a.mean - b.mean) > SAME:
            return [f"the arms start from different values ({a.mean:.3f} and {b.mean:.3f} with {one})"]
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
