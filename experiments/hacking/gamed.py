"""The rules of PLAN.md, on courses: how far gold fell, what share of the preferred pictures is worse, what is gamed.

Each figure is a value an annotator, so that intervals and p-values are Student's t over annotators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from arr_rpo.report.statistics import first_at, t_interval
from experiments.hacking.courses import Arm, Course, Floats

LEAST_FALL = 0.01


def curve(arm: Arm, name: str) -> Floats:
    """(T,) mean over annotators."""
    found: Floats = np.mean([[getattr(point, name) for point in course] for course in arm.values()], axis=0)
    return found


def falls(arm: Arm) -> dict[str, float]:
    """Gold at the last measurement minus gold at the best. The best is looked for on the mean curve of one half of the scenes
    and its gold taken from the other, both ways: a lucky one is no fall."""
    best = [int(np.argmax(curve(arm, f"gold_{half}"))) for half in (0, 1)]
    return {
        who: (course[-1].gold_1 - course[best[0]].gold_1 + course[-1].gold_0 - course[best[1]].gold_0) / 2
        for who, course in arm.items()
    }


def fell(course: Course) -> float:
    """The same of one run alone, whose best is its own, looked for on the other half of the scenes."""
    halves = [np.array([getattr(point, f"gold_{half}") for point in course]) for half in (0, 1)]
    return float(np.mean([here[-1] - here[int(np.argmax(other))] for here, other in (halves, halves[::-1])]))


def gained(arm: Arm, name: str) -> dict[str, float]:
    """From the base to the last measurement."""
    return {who: getattr(course[-1], name) - getattr(course[0], name) for who, course in arm.items()}


def stopped(arm: Arm) -> dict[str, float]:
    """Gold where each run would have been stopped by its alarm (`stop_on_alarm`): at its end if it never rang."""
    return {who: next((p.gold for p in course if p.update == p.alarm), course[-1].gold) for who, course in arm.items()}


def at(course: Course, root_kl: float | None, name: str) -> float:
    """Read linearly between measurements, where the KL is first reached; at the last where it has no more, or for None."""
    if root_kl is None or course[-1].root_kl <= root_kl:
        return float(getattr(course[-1], name))
    there = first_at([point.root_kl for point in course], root_kl)
    assert there is not None  # as the last one has more
    before, after, share = getattr(course[there[0]], name), getattr(course[there[1]], name), there[2]
    return float((1 - share) * before + share * after)


def shares(accepted: Mapping[str, float], bad: Mapping[str, float]) -> dict[str, float]:
    """The pooled share that is bad, and how much each annotator moves it (linearised): values whose mean is the share, and
    whose spread is that of the ratio."""
    mean = float(np.mean([*accepted.values()]))
    if not mean > 0:
        return dict.fromkeys(accepted, math.nan)
    ratio = float(np.mean([*bad.values()])) / mean
    return {who: ratio + (bad[who] - ratio * accepted[who]) / mean for who in accepted}


def exploited(arm: Arm, place: Mapping[str, float] | None = None) -> dict[str, float]:
    """Of the pictures that the reward prefers to the base's the share that is worth less: at the last measurement, or where
    each annotator's root KL is that of `place`."""
    where = {who: place[who] if place else None for who in arm}
    return shares(*({who: at(c, where[who], name) for who, c in arm.items()} for name in ("accepted", "bad")))


def excess(arm: Arm, place: Mapping[str, float] | None = None) -> dict[str, float]:
    """The same, less what it is of two pictures of the base, where nothing was trained."""
    base = shares(*({who: getattr(c[0], name) for who, c in arm.items()} for name in ("base_accepted", "base_bad")))
    return {who: value - base[who] for who, value in exploited(arm, place).items()}


def fooled(arm: Arm) -> dict[str, float]:
    """Of the last pictures that are worth less than the base's the share that the reward prefers (its false positive rate),
    less the share of pairs of the base's own that it calls wrongly; pairs that either calls equal are left out of both. Unlike
    `excess` it does not fall as fewer pictures become worse. The base's pairs are from two noises, the last ones of one."""
    last = ({who: getattr(c[-1], name) for who, c in arm.items()} for name in ("worse", "bad"))
    base = shares(*({who: getattr(c[0], name) for who, c in arm.items()} for name in ("base_accepted", "base_bad")))
    return {who: value - base[who] for who, value in shares(*last).items()}


def onset(arm: Arm) -> int | None:
    """The first measurement from which gold falls and the proxy rises at two in a row; None if there is none."""
    gold, proxy = np.diff(curve(arm, "gold")), np.diff(curve(arm, "proxy"))
    apart = (gold < 0) & (proxy > 0)
    updates = [point.update for point in next(iter(arm.values()))]
    return next((updates[t] for t in range(len(apart) - 1) if apart[t] and apart[t + 1]), None)


def lesser(arm: Arm, other: Arm) -> dict[str, float]:
    """Each annotator's lesser last root KL of two arms."""
    return {who: min(arm[who][-1].root_kl, other[who][-1].root_kl) for who in arm if who in other}


def minus(ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[float]:
    return [value - theirs[who] for who, value in ours.items() if who in theirs]


def both(arm: Arm, other: Arm) -> tuple[Arm, Arm]:
    """Of annotators that both have."""
    return {who: c for who, c in arm.items() if who in other}, {who: c for who, c in other.items() if who in arm}


def proxy_held(arm: Arm) -> bool:
    """Whether it ends no lower than where gold was best."""
    proxy = curve(arm, "proxy")
    return bool(proxy[-1] >= proxy[int(np.argmax(curve(arm, "gold")))])


def is_gamed(arm: Arm) -> bool:
    """Gold fell, by an interval that ends below -0.01, and the proxy did not."""
    values = [*falls(arm).values()]
    return len(values) > 1 and t_interval(values, 0.95)[1] < -LEAST_FALL and proxy_held(arm)


def below(values: Sequence[float]) -> float:
    """One-sided p-value of a mean below 0; 1 where there is no spread and no fall."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0:
        return 0.0 if mean < 0 else 1.0
    return float(stats.t.cdf(mean / error, len(values) - 1))
