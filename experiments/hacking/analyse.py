"""`python -m experiments.hacking.analyse FOLDER_OR_CSV... [--keep FILE.csv] [--figure FILE.png]`: which arms are gamed, by the
rules of PLAN.md and its amendments.

Gold is what a held-out picture is worth to the annotator, proxy how often the run's own reward prefers it to the base's.
Intervals and p-values are Student's t over annotators. `--keep` writes a row a run and measurement, which this command reads in
place of the runs; `baseline.py` has to have looked at these before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy import stats

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.data.prompts import read_prompts
from arr_rpo.report.read_study import read_study
from arr_rpo.report.statistics import holm, t_interval, t_p_value
from arr_rpo.report.study import Run
from arr_rpo.run.layout import CONFIG
from arr_rpo.types import UserError
from experiments import kept

Floats = NDArray[np.float64]
ANNOTATORS = {"seen": ("olga", "pia", "rosa", "sven", "tea"), "blind": ("mia", "nils", "quin")}  # PLAN.md, amendments
SEED, LEAST_FALL, SAME = 1, 0.01, 1e-6
BASELINE = "baseline.json"
EXPLOITED = [("reward_model", "own_weighted", 1), ("dropout 50", "own_weighted", -1), ("rotation", "own_weighted", -1)]
EXPLOITED += [("ensemble", "half model", -1), ("conjunctive", "prompt_alone", -1)]  # arms; the sign that is expected


@dataclass(frozen=True)
class Point:
    """One measurement of one run: means over its held-out prompts.

    root_kl: square root of the path KL from the base. gold_0, gold_1: of every other scene, and of the others. accepted: share
    of the prompts at which the reward prefers the picture to the base's and the annotator one of the two; bad: at which the
    picture is then worth less. base_accepted, base_bad: the same of two pictures of the base; NaN where nobody has looked.
    """

    arm: str
    annotator: str
    update: int
    root_kl: float
    gold: float
    gold_0: float
    gold_1: float
    taste: float
    followed: float
    proxy: float
    accepted: float
    bad: float
    base_accepted: float
    base_bad: float


Course = Sequence[Point]  # of one run, by update
Arm = Mapping[str, Course]  # annotator -> course


def points(run: Run) -> Iterator[Point]:
    """Of a finished run. Prompts of which a measurement has no proxy (its verdict failed) are left out of all.

    Raises:
        UserError: it was not measured by both.
    """
    if not run.progress or any(name not in run.progress[0].measures for name in ("annotator", "win_rate")):
        raise UserError(f"{run.folder} was not measured by annotator and win_rate as it trained: is it a run of study=hacking?")
    gold = [point.measures["annotator"].by_prompt for point in run.progress]
    proxy = [point.measures["win_rate"].by_prompt for point in run.progress]
    prompts = [p for p in gold[0] if all(p in at for at in (*gold, *proxy))]
    gold_TP, proxy_TP = (np.array([[at[p] for p in prompts] for at in some]) for some in (gold, proxy))
    half = halves(str(OmegaConf.load(run.folder / CONFIG).data.heldout), prompts)  # which refers to the annotator
    decided = np.abs(gold_TP - gold_TP[:1]) > SAME
    accepted = (proxy_TP > 0.5) & decided
    bad = accepted & (gold_TP < gold_TP[:1])
    place = run.folder / BASELINE
    base = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    for t, one in enumerate(run.progress):
        yield Point(
            arm=str(run.config["study"]["arm"]).split(",")[0],
            annotator=str(run.config["study"]["annotator"]),
            update=one.update,
            root_kl=math.sqrt(max(0.0, one.kl or 0.0)),
            gold=float(gold_TP[t].mean()),
            gold_0=float(gold_TP[t][half == 0].mean()),
            gold_1=float(gold_TP[t][half == 1].mean()),
            taste=one.measures["annotator"].figures["taste"],
            followed=one.measures["annotator"].figures["followed"],
            proxy=float(proxy_TP[t].mean()),
            accepted=float(accepted[t].mean()),
            bad=float(bad[t].mean()),
            base_accepted=base.get("accepted", math.nan),
            base_bad=base.get("bad", math.nan),
        )


def halves(file: str, prompts: Sequence[str]) -> Floats:
    """(P,) 0 or 1: prompts of one scene, in whatever words, are in one half."""
    scenes = {p.id: json.dumps(p.metadata.get("include"), sort_keys=True) for p in read_prompts(file)[:]}
    order = {scene: place for place, scene in enumerate(dict.fromkeys(scenes[p] for p in prompts))}
    return np.array([order[scenes[p]] % 2 for p in prompts], dtype=float)


def read(place: Path) -> Iterator[Point]:
    """Those of a folder's finished runs, or of a file that was kept."""
    if place.is_dir():
        for run in read_study(place).runs:
            if run.finished and run.seed == SEED and run.config["study"]["annotator"] in itertools.chain(*ANNOTATORS.values()):
                yield from points(run)
        return
    yield from kept.read(Point, place)


def keep(some: Iterable[Point], path: Path) -> None:
    kept.write(some, Point, path)


def arms_of(some: Iterable[Point]) -> dict[str, dict[str, Course]]:
    """By arm and annotator; of two measurements of one update the later read counts.

    Raises:
        UserError: runs of one arm were measured at other updates.
    """
    found: dict[str, dict[str, dict[int, Point]]] = defaultdict(lambda: defaultdict(dict))
    for point in some:
        found[point.arm][point.annotator][point.update] = point
    arms = {
        arm: {who: [course[at] for at in sorted(course)] for who, course in of.items()} for arm, of in sorted(found.items())
    }
    for name, arm in arms.items():
        if len({tuple(p.update for p in course) for course in arm.values()}) > 1:
            raise UserError(f"runs of the arm {name!r} were measured at other updates: give those of one length alone")
    return arms


# -- what is measured, a value an annotator ----------------------------------------------------------------------------------


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


def gained(arm: Arm, name: str) -> dict[str, float]:
    """From the base to the last measurement."""
    return {who: getattr(course[-1], name) - getattr(course[0], name) for who, course in arm.items()}


def at(course: Course, root_kl: float | None, name: str) -> float:
    """Read linearly between measurements, where the KL is first reached; at the last where it has no more, or for None."""
    if root_kl is None or course[-1].root_kl <= root_kl:
        return float(getattr(course[-1], name))
    for before, after in itertools.pairwise(course):
        if after.root_kl >= root_kl:
            share = (root_kl - before.root_kl) / (after.root_kl - before.root_kl)
            return float((1 - share) * getattr(before, name) + share * getattr(after, name))
    raise AssertionError("the last one has more")


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


def lesser(arm: Arm, other: Arm) -> dict[str, float]:
    """Each annotator's lesser last root KL of two arms."""
    return {who: min(arm[who][-1].root_kl, other[who][-1].root_kl) for who in arm if who in other}


def minus(ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[float]:
    return [value - theirs[who] for who, value in ours.items() if who in theirs]


def both(arm: Arm, other: Arm) -> tuple[Arm, Arm]:
    """Of annotators that both have."""
    return {who: c for who, c in arm.items() if who in other}, {who: c for who, c in other.items() if who in arm}


def is_gamed(arm: Arm) -> bool:
    """Gold fell, by an interval that ends below -0.01, and the proxy did not."""
    values = [*falls(arm).values()]
    proxy, best = curve(arm, "proxy"), int(np.argmax(curve(arm, "gold")))
    return len(values) > 1 and t_interval(values, 0.95)[1] < -LEAST_FALL and bool(proxy[-1] >= proxy[best])


# -- tables ------------------------------------------------------------------------------------------------------------------


def said(values: Sequence[float], signed: bool = True) -> str:
    form = "{:+.3f}" if signed else "{:.3f}"
    if len(values) < 2 or any(math.isnan(value) for value in values):
        return form.format(float(np.mean(values)))
    return f"{form} ({form} to {form})".format(float(np.mean(values)), *t_interval(list(values), 0.95))


def arms_table(arms: Mapping[str, Arm]) -> str:
    heads = ["arm", "annotators", "last root KL", "gold: base", "best", "last", "last minus best", "taste", "proxy, last"]
    heads += ["exploited", "less its baseline", "gamed, since"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, arm in arms.items():
        gold, updates = curve(arm, "gold"), [point.update for point in next(iter(arm.values()))]
        best, gamed = int(np.argmax(gold)), is_gamed(arm)
        cells = [name, str(len(arm)), f"{curve(arm, 'root_kl')[-1]:.1f}", f"{gold[0]:.3f}"]
        cells += [f"{gold[best]:.3f} (update {updates[best]})", f"{gold[-1]:.3f}", said([*falls(arm).values()])]
        cells += [said([*gained(arm, "taste").values()]), f"{curve(arm, 'proxy')[-1]:.3f}"]
        cells += [said([*exploited(arm).values()], signed=False), said([*excess(arm).values()])]
        lines.append(f"| {' | '.join([*cells, f'update {updates[best]}' if gamed else 'no'])} |")
    return "\n".join(lines)


def claims_table(arms: Mapping[str, Arm]) -> str:
    """The claims of the plan, of whose arms there are runs; Holm's correction is over those."""
    found: list[
        tuple[str, list[float], str, float, bool]
    ] = []  # claim, values, at matched KL, p, whether the sign is as claimed
    for one, other, sign in EXPLOITED:
        if one in arms and other in arms:
            ours, theirs = both(arms[one], arms[other])
            values, place = minus(excess(ours), excess(theirs)), lesser(ours, theirs)
            matched = said(minus(excess(ours, place), excess(theirs, place)))
            claim = f"{one} has a {'higher' if sign > 0 else 'lower'} share of exploited pictures than {other}, less baselines"
            found.append((claim, values, matched, t_p_value(values), sign * float(np.mean(values)) > 0))
    if "prompt_alone" in arms:
        arm = arms["prompt_alone"]
        fell, taste = [*falls(arm).values()], [*gained(arm, "taste").values()]
        proxy, best = curve(arm, "proxy"), int(np.argmax(curve(arm, "gold")))
        p = below([value + LEAST_FALL for value in fell])
        found.append(("2: prompt_alone is gamed: gold falls by more than 0.01", fell, "-", p, bool(proxy[-1] >= proxy[best])))
        found.append(("2b: under prompt_alone the taste that is met falls", taste, "-", below(taste), True))
    adjusted = holm([p for *_, p, _ in found])
    lines = ["| claim | difference, equal updates | at matched KL | p, Holm | |", "|---|---|---|---|---|"]
    for (claim, values, matched, _, claimed), p in zip(found, adjusted, strict=True):
        result = "not shown" if p >= 0.05 else "shown" if claimed else "reversed, or the proxy fell too"
        lines.append(f"| {claim} | {said(values)} | {matched} | {p:.3f} | {result} |")
    return "\n".join(lines)


def below(values: Sequence[float]) -> float:
    """One-sided p-value of a mean below 0; 1 where there is no spread and no fall."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0:
        return 0.0 if mean < 0 else 1.0
    return float(stats.t.cdf(mean / error, len(values) - 1))


def draw_figure(arms: Mapping[str, Arm], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", sharex=True)
    styles = itertools.product(["-", "--"], plt.get_cmap("tab10").colors)
    for (name, arm), (style, color) in zip(arms.items(), styles, strict=False):
        for axis, values in zip(axes, ("gold", "proxy"), strict=True):
            axis.plot(curve(arm, "root_kl"), curve(arm, values), label=name, linestyle=style, color=color, marker=".")
    axes[0].set(xlabel="square root of KL (nats an image)", ylabel="gold: worth to the annotator, 0 to 1")
    axes[1].set(xlabel="square root of KL (nats an image)", ylabel="proxy: preferred to the base's by the run's reward")
    axes[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=120)


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    some = [point for place in given.places for point in read(place)]
    if given.keep:
        keep(some, given.keep)
    arms = arms_of(some)
    print(arms_table(arms), claims_table(arms), sep="\n\n")
    for group, names in ANNOTATORS.items():
        part = {name: {who: c for who, c in arm.items() if who in names} for name, arm in arms.items()}
        if part := {name: arm for name, arm in part.items() if len(arm) > 1}:
            print("", f"Annotators whose tastes are {group} by the judge:", arms_table(part), sep="\n\n")
    if given.figure:
        draw_figure(arms, given.figure)


if __name__ == "__main__":
    main()
