"""`python -m experiments.hacking.analyse FOLDER_OR_CSV... [--keep FILE.csv] [--figure FILE.png]`: which arms are gamed, by the
rules of PLAN.md and its amendments.

`--keep` writes a row a run and measurement, which this command reads in place of the runs; `baseline.py` has to have looked at
these before.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.report.statistics import holm, t_p_value
from experiments import kept
from experiments.hacking.courses import ANNOTATORS, Arm, Point, arms_of, read
from experiments.hacking.gamed import (
    LEAST_FALL,
    at,
    below,
    both,
    curve,
    excess,
    exploited,
    falls,
    fell,
    fooled,
    gained,
    is_gamed,
    lesser,
    minus,
    onset,
    proxy_held,
    stopped,
)
from experiments.markdown import fallen, said, table

# What the last measurements are compared with.
REFERENCES = ("prompt_alone", "own_weighted", "reward_model", "half model", "told exact")
GROUPS = {
    "seen": "all of whose tastes the judge checks well (AUC above 0.9)",
    "blind": "with a taste that the judge checks badly (AUC below 0.7)",
}
EXPLOITED = [("reward_model", "own_weighted", 1), ("dropout 50", "own_weighted", -1), ("rotation", "own_weighted", -1)]
EXPLOITED += [("ensemble", "half model", -1), ("conjunctive", "prompt_alone", -1)]  # arms; the sign that is expected


def golds_table(arms: Mapping[str, Arm]) -> str:
    """What the annotator gains and loses."""
    heads = ["arm", "annotators", "root KL", "gold: base", "best", "last", "last minus best", "last minus each run's own"]
    rows = []
    for name, arm in arms.items():
        gold, updates = curve(arm, "gold"), [point.update for point in next(iter(arm.values()))]
        best = int(np.argmax(gold))
        cells = [
            name,
            len(arm),
            f"{curve(arm, 'root_kl')[-1]:.1f}",
            f"{gold[0]:.3f}",
            f"{gold[best]:.3f} (update {updates[best]})",
        ]
        cells += [f"{gold[-1]:.3f}", fallen([*falls(arm).values()]), said([*map(fell, arm.values())])]
        cells += [said([*gained(arm, "taste").values()])]
        rows.append([*cells, f"yes, onset {onset(arm) or '-'}" if is_gamed(arm) else "no"])
    return table([*heads, "taste, last minus base", "gamed"], rows)


def proxies_table(arms: Mapping[str, Arm]) -> str:
    """What the reward says at the end, how often it is wrong, and when the run's alarm rang."""
    heads = ["arm", "proxy, last", "exploited", "less its baseline", "false positive rate, less the base's"]
    heads += ["sharpness, last / base", "alarm rang, at (median)"]
    rows = []
    for name, arm in arms.items():
        rang, sharpness = [course[0].alarm for course in arm.values() if course[0].alarm >= 0], curve(arm, "sharpness")
        cells = [
            name,
            f"{curve(arm, 'proxy')[-1]:.3f}",
            said([*exploited(arm).values()], signed=False),
            said([*excess(arm).values()]),
            said([*fooled(arm).values()]),
        ]
        cells += [
            f"{sharpness[-1] / sharpness[0]:.2f}",
            f"{len(rang)} of {len(arm)}" + (f", {median(rang):.0f}" if rang else ""),
        ]
        rows.append([*cells, f"{fmean(stopped(arm).values()):.3f}"])
    return table([*heads, "gold if stopped by it"], rows)


def annotators_table(arms: Mapping[str, Arm]) -> str:
    """Gold of each annotator's run before and after, and its last minus its own best (`fell`): a mean hides who is gamed."""
    rows = []
    for who in dict.fromkeys(who for arm in arms.values() for who in arm):
        courses = [(name, arm[who]) for name, arm in arms.items() if who in arm]
        cells = {name: f"{course[0].gold:.2f} to {course[-1].gold:.2f} ({fell(course):+.2f})" for name, course in courses}
        rows.append([who, *(cells.get(name, "-") for name in arms)])
    return table(["gold, base to last (last minus the run's own best)", *arms], rows)


def alarms_table(arms: Mapping[str, Arm]) -> str:
    """Each run in which the alarm rang: the greatest gold that was measured until then (partly luck), then, and in the end."""
    rows = []
    for name, who, course in ((name, who, course) for name, arm in arms.items() for who, course in arm.items()):
        if before := [point.gold for point in course if point.update <= course[0].alarm]:
            rows.append((name, who, course[0].alarm, *(f"{gold:.3f}" for gold in (max(before), before[-1], course[-1].gold))))
    return table(["alarm rang in", "of", "at update", "gold: best until then", "then", "last"], rows)


def against(arms: Mapping[str, Arm], reference: str) -> str:
    """Paired differences of the last measurements, beside the claims and not corrected."""
    rows = []
    for name, arm in arms.items():
        ours, theirs = both(arm, arms[reference])
        if name != reference and ours:
            place = lesser(ours, theirs)
            gaps = [_gap(ours, theirs, "gold"), _gap(ours, theirs, "gold", place), _gap(ours, theirs, "root_kl")]
            gaps += [_gap(ours, theirs, "taste"), _gap(ours, theirs, "followed"), minus(fooled(ours), fooled(theirs))]
            rows.append([name, len(ours), *(said(values) for values in gaps)])
    heads = [f"last, minus {reference}", "annotators", "gold", "gold at matched KL", "root KL", "taste", "followed"]
    return table([*heads, "false positive rate"], rows)


def _gap(ours: Arm, theirs: Arm, name: str, place: Mapping[str, float] | None = None) -> list[float]:
    """Of the last measurements, or of those where each annotator's root KL is that of `place`."""
    where = place or dict.fromkeys(ours)
    return [at(ours[who], where[who], name) - at(theirs[who], where[who], name) for who in ours]


class Claim(NamedTuple):
    """values: one an annotator, at equal updates. matched: the same at equal KL, in words. as_claimed: whether their mean is on
    the side that the plan says, and what else it says holds."""

    says: str
    values: Sequence[float]
    matched: str
    p: float
    as_claimed: bool


def whole(arm: Arm) -> bool:
    """Whether it counts: all annotators have run."""
    return {*arm} >= {*itertools.chain(*ANNOTATORS.values())}


def claims(arms: Mapping[str, Arm]) -> Iterator[Claim]:
    """Those of the plan of whose arms all annotators have run, with baselines where these are taken off."""
    arms = {name: arm for name, arm in arms.items() if whole(arm)}
    for one, other, sign in EXPLOITED:
        if one in arms and other in arms and not math.isnan(sum([*excess(arms[one]).values(), *excess(arms[other]).values()])):
            ours, theirs = both(arms[one], arms[other])
            values, place = minus(excess(ours), excess(theirs)), lesser(ours, theirs)
            matched = said(minus(excess(ours, place), excess(theirs, place)))
            says = f"{one} has a {'higher' if sign > 0 else 'lower'} share of exploited pictures than {other}, less baselines"
            yield Claim(says, values, matched, t_p_value(values), sign * fmean(values) > 0)
    if "prompt_alone" in arms:
        arm = arms["prompt_alone"]
        fell, taste = [*falls(arm).values()], [*gained(arm, "taste").values()]
        p = below([value + LEAST_FALL for value in fell])
        yield Claim("2: prompt_alone is gamed: gold falls by more than 0.01", fell, "-", p, proxy_held(arm))
        yield Claim("2b: under prompt_alone the taste that is met falls", taste, "-", below(taste), True)


def claims_table(arms: Mapping[str, Arm]) -> str:
    """Holm's correction is over all that are tested."""
    found = [*claims(arms)]
    if not found:
        return "No claim can be tested: its arms have not been run, or `baseline.py` has not looked at them."
    rows = []
    for claim, p in zip(found, holm([claim.p for claim in found]), strict=True):
        result = "not shown" if p >= 0.05 else "shown" if claim.as_claimed else "reversed, or the proxy fell too"
        rows.append((claim.says, said(claim.values), claim.matched, f"{p:.3f}", result))
    part = [f"{name} ({len(arm)})" for name, arm in arms.items() if not whole(arm)]
    without = f"\n\nLeft out, as not all annotators have run: {', '.join(part)}." if part else ""
    return table(["claim", "difference, equal updates", "at matched KL", "p, Holm", ""], rows) + without


def draw_figure(arms: Mapping[str, Arm], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", sharex=True)
    styles = itertools.product(["-", "--"], map(plt.get_cmap("tab10"), range(10)))
    for (name, arm), (style, color) in zip(arms.items(), styles, strict=False):
        for axis, values in zip(axes, ("gold", "proxy"), strict=True):
            axis.plot(curve(arm, "root_kl"), curve(arm, values), label=name, linestyle=style, color=color, marker=".")
    axes[0].set(xlabel="square root of KL (nats an image)", ylabel="gold: worth to the annotator, 0 to 1")
    axes[1].set(xlabel="square root of KL (nats an image)", ylabel="proxy: preferred to the base's by the run's reward")
    axes[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=120)


def tables(some: Iterable[Point]) -> str:
    """All of them, and what annotators gain apart by whether the judge can check their tastes."""
    arms = arms_of(some)
    found = [golds_table(arms), proxies_table(arms), claims_table(arms), annotators_table(arms), alarms_table(arms)]
    found += [against(arms, name) for name in REFERENCES if name in arms]
    for group, names in ANNOTATORS.items():
        part = {name: {who: c for who, c in arm.items() if who in names} for name, arm in arms.items()}
        if part := {name: arm for name, arm in part.items() if len(arm) > 1}:
            found += [f"Annotators {GROUPS[group]}:", golds_table(part), proxies_table(part)]
    return "\n\n".join(found)


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    some = [point for place in given.places for point in read(place)]
    if given.keep:
        kept.write(some, Point, given.keep)
    print(tables(some))
    if given.figure:
        draw_figure({name: arm for name, arm in arms_of(some).items() if whole(arm)}, given.figure)


if __name__ == "__main__":
    main()
