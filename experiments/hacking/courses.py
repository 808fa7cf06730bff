"""Courses of the study's runs: gold, proxy and KL as training goes on, read from run folders or from a CSV file that was kept.

Gold is what a held-out picture is worth to the annotator, proxy how often the run's own reward prefers it to the base's.
"""

from __future__ import annotations

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

from arr_rpo.data.prompts import read_prompts
from arr_rpo.report.read_study import read_study
from arr_rpo.report.study import Run
from arr_rpo.run.layout import CONFIG
from arr_rpo.types import UserError
from experiments import kept

Floats = NDArray[np.float64]
ANNOTATORS = {"seen": ("olga", "pia", "rosa", "sven", "tea"), "blind": ("mia", "nils", "quin")}  # PLAN.md, amendments
SEED, PAIRS, SAME = 1, 64, 1e-6  # of the study, no pilot's; worths that are one
BASELINE = "baseline.json"


@dataclass(frozen=True)
class Point:
    """One measurement of one run: means over its held-out prompts.

    root_kl: square root of the path KL from the base. gold_0, gold_1: of every other scene, and of the others. accepted: share
    of the prompts at which the reward prefers the picture to the base's and the annotator one of the two; bad: at which the
    picture is then worth less; worse: at which it is worth less and the reward prefers either of the two. base_accepted,
    base_bad: as accepted and bad, of two pictures of the base (from two noises), either of which may be preferred; NaN where
    nobody has looked.
    sharpness: of the pictures (`measure.signs`). alarm: after how many updates the run's own rang; -1 never.
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
    worse: float
    base_accepted: float
    base_bad: float
    sharpness: float
    alarm: int


Course = Sequence[Point]  # of one run, by update
Arm = Mapping[str, Course]  # annotator -> course


def arm_of(name: str) -> str:
    """ "own_weighted, 64 pairs" -> "own_weighted", the study's; "own_weighted, 16 pairs" stays, and is another arm."""
    return name.removesuffix(f", {PAIRS} pairs")


def points(run: Run) -> Iterator[Point]:
    """Of a finished run. Prompts of which a measurement has no proxy (its verdict failed) are left out of all but the means
    that the run kept itself: taste, followed and sharpness.

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
    worse = decided & (gold_TP < gold_TP[:1])
    called = proxy_TP != 0.5
    place = run.folder / BASELINE
    base = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    rang = run.summary.get("alarm")
    for t, one in enumerate(run.progress):
        yield Point(
            arm=arm_of(run.config["study"]["arm"]),
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
            bad=float((accepted & worse)[t].mean()),
            worse=float((worse & called)[t].mean()),
            base_accepted=base.get("accepted", math.nan),
            base_bad=base.get("bad", math.nan),
            sharpness=one.measures["signs"].figures["sharpness"],
            alarm=rang["update"] if rang else -1,
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


def arms_of(some: Iterable[Point]) -> dict[str, dict[str, Course]]:
    """By arm and annotator; of two measurements of one update the later read counts.

    Raises:
        UserError: runs of one arm were measured at other updates.
    """
    found: dict[str, dict[str, dict[int, Point]]] = defaultdict(lambda: defaultdict(dict))
    for point in some:
        found[point.arm][point.annotator][point.update] = point
    arms: dict[str, dict[str, Course]] = {
        arm: {who: [course[at] for at in sorted(course)] for who, course in of.items()} for arm, of in sorted(found.items())
    }
    for name, arm in arms.items():
        if len({tuple(p.update for p in course) for course in arm.values()}) > 1:
            raise UserError(f"runs of the arm {name!r} were measured at other updates: give those of one length alone")
    return arms
