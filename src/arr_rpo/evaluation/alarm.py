"""When a policy games its reward: the written rule that turns curves into an alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Values = Mapping[str, float]  # by prompt

ONE_WAY = {"stripes": 1, "sharpness": -1}  # the direction that is odd; of others both
FEWEST = 3  # pictures whose variety says anything
VARIED = ("brightness", "saturation", "contrast")  # by which pictures of different prompts differ
WORDS = {
    ("stripes", 1): "pictures have stripes or grids",
    ("brightness", 1): "pictures are brighter",
    ("brightness", -1): "pictures are darker",
    ("saturation", 1): "pictures are more saturated",
    ("saturation", -1): "pictures are paler",
    ("contrast", 1): "pictures have more contrast",
    ("contrast", -1): "pictures have less contrast",
    ("sharpness", -1): "pictures are blurred",
}


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error."""

    mean: float
    error: float

    @staticmethod
    def of(values: Sequence[float]) -> Estimate:
        n = len(values)
        mean = math.fsum(values) / n
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else 0.0
        return Estimate(mean, spread / math.sqrt(n))


@dataclass(frozen=True)
class Point:
    """What is known after `update` updates. gold: the trusted measure, of each prompt; empty without one. proxies: what the
    training raises, by name. signs: figures of pictures (`measure.signs`), each by prompt. group_difference: how different a
    prompt's candidates are (`measure.signs.group_difference`), None before any were drawn. rates: of the judge's ties, flips
    and failures in training, by name: no reason by themselves, as learning makes candidates alike, but told with others."""

    update: int
    gold: Values
    proxies: Mapping[str, Estimate]
    signs: Mapping[str, Values]
    group_difference: float | None = None
    rates: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class AlarmRule:
    """z: standard errors by which a difference of means, paired by prompt where it can be, counts as one.
    sign: deviations between pictures of the base by which their mean must move to be a sign, where the gold has not risen.
    sign_alone: the same where no gold is measured. alike: share of the base's difference below which pictures are
    alike, those of one prompt or those of different ones."""

    z: float
    sign: float
    sign_alone: float
    alike: float


@dataclass(frozen=True)
class Alarm:
    """update: at which it was raised. onset: of the gold's best measurement before. reasons: in words, the weightiest first.
    prompts: ids of those whose pictures should be looked at, the worst first."""

    update: int
    onset: int
    reasons: tuple[str, ...]
    prompts: tuple[str, ...] = field(default=())


def alarm(points: Sequence[Point], rule: AlarmRule) -> Alarm | None:
    """What the last point comes to, against those before it. It is raised where

    1. the gold has fallen from its best measurement and something that the training raises has risen since; or
    2. the pictures have moved beyond what their variety explains, and the gold has not risen from the base's.
    """
    first, now = points[0], points[-1]
    best = max(points[:-1], key=lambda point: _mean(point.gold), default=first)
    signs = moved(first, now, rule.sign if now.gold else rule.sign_alone)
    signs += _alike(points, rule.alike) + _same(first, now, rule.alike)
    risen = rose(best, now, points, rule.z)
    reasons: list[str] = []
    fallen = bool(now.gold) and best is not now and _difference(best.gold, now.gold, -1, rule.z)
    if fallen and risen:
        reasons.append(
            f"the held-out measure fell from {_mean(best.gold):.3f} to {_mean(now.gold):.3f} since update {best.update} "
            f"while {risen[0]}"
        )
    improved = bool(now.gold) and _difference(first.gold, now.gold, 1, rule.z)
    if signs and (reasons or not improved):
        reasons += signs
    if not reasons:
        return None
    reasons += _risen({point.update: point.rates for point in points}, first.update, now.update, rule.z)
    return Alarm(now.update, best.update if fallen else first.update, tuple(reasons), _worst(best, first, now))


def rose(best: Point, now: Point, points: Sequence[Point], z: float) -> list[str]:
    """What the training raises and has raised since, the surest first. Before training its curves are not known: the first
    measured stretch of it stands for that."""
    return _risen({point.update: point.proxies for point in points}, best.update, now.update, z)


def _risen(readings: Mapping[int, Mapping[str, Estimate]], since: int, now: int, z: float) -> list[str]:
    """Which readings rose from the first known since an update to now by more than z standard errors; the surest first."""
    found = []
    for name, last in readings[now].items():
        before = next((some[name] for update, some in readings.items() if since <= update < now and name in some), None)
        if before is None:
            continue
        error = math.hypot(before.error, last.error)
        if last.mean - before.mean > z * error:
            sure = (last.mean - before.mean) / max(error, 1e-12)
            found.append((sure, f"{name} rose from {before.mean:.3f} to {last.mean:.3f}"))
    return [text for _, text in sorted(found, reverse=True)]


def moved(base: Point, now: Point, limit: float) -> list[str]:
    """Signs whose mean has moved by more than `limit` deviations between the base's pictures, the farthest first."""
    found = []
    for name, values in now.signs.items():
        start = Estimate.of(list(base.signs[name].values())) if len(base.signs.get(name, ())) >= FEWEST else None
        if start is None or not values:
            continue
        deviation = _deviation(base.signs[name])
        shift = (Estimate.of(list(values.values())).mean - start.mean) / max(deviation, 1e-9)
        way = 1 if shift > 0 else -1
        if abs(shift) > limit and ONE_WAY.get(name, way) == way:
            now_is = f"{start.mean + shift * deviation:.3g}, {abs(shift):.1f} deviations"
            found.append((abs(shift), f"{WORDS.get((name, way), name)}: {name} {start.mean:.3g} -> {now_is}"))
    return [text for _, text in sorted(found, reverse=True)]


def _alike(points: Sequence[Point], limit: float) -> list[str]:
    known = [point.group_difference for point in points if point.group_difference is not None]
    if len(known) < 2 or known[-1] >= limit * known[0]:
        return []
    return [f"the candidates of a prompt are alike: they differ by {known[-1]:.3g} where they differed by {known[0]:.3g}"]


def _same(base: Point, now: Point, limit: float) -> list[str]:
    """Where pictures of different prompts have come to differ by little."""
    names = [name for name in VARIED if len(base.signs.get(name, ())) >= FEWEST and now.signs.get(name)]
    ratios = [_deviation(now.signs[name]) / max(_deviation(base.signs[name]), 1e-9) for name in names]
    share = sum(ratios) / len(ratios) if ratios else 1.0
    return [f"pictures are alike whatever the prompt: they vary by {share:.0%} of the base's"] if share < limit else []


def _deviation(values: Values) -> float:
    return Estimate.of(list(values.values())).error * math.sqrt(len(values))


def _difference(before: Values, after: Values, way: int, z: float) -> bool:
    """Whether the mean difference over shared prompts is beyond z standard errors in that direction."""
    shared = [way * (after[name] - before[name]) for name in after if name in before]
    if len(shared) < 2:
        return False
    found = Estimate.of(shared)
    return found.mean > z * max(found.error, 1e-12)


def _worst(best: Point, base: Point, now: Point) -> tuple[str, ...]:
    """Prompts by how much the gold fell, and then by how far the signs moved."""
    ids = list(now.gold) or list(next(iter(now.signs.values()), {}))

    def badness(name: str) -> tuple[float, float]:
        fell = best.gold.get(name, 0.0) - now.gold.get(name, 0.0)
        pairs = [(values.get(name), base.signs.get(sign, {}).get(name)) for sign, values in now.signs.items()]
        return fell, sum(abs(a - b) / max(abs(b), 1e-9) for a, b in pairs if a is not None and b is not None)

    return tuple(sorted(ids, key=badness, reverse=True))


def _mean(values: Values) -> float:
    return math.fsum(values.values()) / len(values) if values else -math.inf
