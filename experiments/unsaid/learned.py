"""`python -m experiments.unsaid.learned FOLDER_OR_CSV... [--reference ARM] [--keep FILE.csv]`: what policies of `study=unsaid`
learned, an arm a row.

Intervals are over annotators: a figure is the mean of an annotator's seeds. Differences are paired by annotator and seed, their
p-values corrected for being many (Holm). At the end all arms have drawn as many images. Judge calls and KL are matched for each
pair of runs, where the lesser of both ended, on the line between two measurements of the prompts that are measured on the way.
`--keep` writes all that the tables are made of, which this command reads in place of the runs.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.report.read_study import read_study
from arr_rpo.report.statistics import first_at, holm, t_p_value
from arr_rpo.report.study import Measured, Run
from arr_rpo.types import UserError
from experiments import kept
from experiments.markdown import said, table

FIGURES = ("taste", "followed", "strict", "worth", "kl")
BEFORE, AFTER = "before", "after"  # of training, on all held-out prompts; the others were measured on the way, on some
CONDITIONS = ("images", "judge_calls", "kl")


@dataclass(frozen=True)
class Point:
    """A policy, measured. when: BEFORE, AFTER or "" on the way. taste, followed, strict, worth: `shapes.annotators.measure`."""

    algorithm: str
    arm: str
    annotator: str
    seed: int
    when: str
    images: float
    judge_calls: float
    kl: float
    taste: float
    followed: float
    strict: float
    worth: float

    @property
    def run(self) -> tuple[str, int]:
        """What is paired: the same of all arms."""
        return self.annotator, self.seed


@dataclass(frozen=True)
class Learned:
    """One run: measured before and after training, and on the way."""

    before: Point
    after: Point
    course: Sequence[Point]

    def at(self, condition: str, place: float) -> dict[str, float]:
        """Figures where it first has so many judge calls or nats of KL."""
        places = [getattr(point, condition) for point in self.course]
        if (there := first_at(places, place)) is None:
            raise ValueError(f"a run never has {place} of {condition}, only {max(places)}")
        before, after, share = self.course[there[0]], self.course[there[1]], there[2]
        return {name: (1 - share) * getattr(before, name) + share * getattr(after, name) for name in FIGURES}

    def most(self, condition: str) -> float:
        return float(max(getattr(point, condition) for point in self.course))


def points(run: Run) -> Iterator[Point]:
    """Of a finished run."""
    named = {"arm": run.config["study"]["arm"], "annotator": run.config["study"]["annotator"], "seed": run.seed or 0}
    named["algorithm"] = run.config["algorithm"]["objective"]["_target_"].rsplit(".", 1)[-1]

    def point(when: str, images: float, calls: float | None, kl: float | None, worth: Measured) -> Point:
        taste, followed, strict = (worth.figures[name] for name in ("taste", "followed", "strict"))
        far, asked, value = kl or 0.0, calls or 0.0, worth.value or 0.0
        return Point(
            **named,
            when=when,
            images=images,
            judge_calls=asked,
            kl=far,
            worth=value,
            taste=taste,
            followed=followed,
            strict=strict,
        )

    def whole(when: str) -> Measured:
        figures = {name: run.mean("annotator", when, name) or 0.0 for name in ("taste", "followed", "strict")}
        return Measured(run.mean("annotator", when), figures)

    yield point(BEFORE, 0, 0, 0, whole(BEFORE))
    for one in run.progress:
        yield point("", one.images, one.judge_calls, one.kl, one.measures["annotator"])
    yield point(AFTER, run.images or 0, run.judge_calls, run.kl, whole(AFTER))


def read(place: Path) -> Iterator[Point]:
    """Those of a folder's finished runs, or of a file that was kept."""
    if place.is_dir():
        for run in read_study(place).runs:
            if run.finished:
                yield from points(run)
        return
    yield from kept.read(Point, place)


def keep(some: Iterable[Point], path: Path) -> None:
    kept.write(some, Point, path)


def arms(some: Iterable[Point]) -> dict[str, dict[tuple[str, int], Learned]]:
    """By arm, of all rules but DiffusionNFT with the rule's name, then by annotator and seed; a later run takes the place of an
    earlier one."""
    found: dict[str, dict[tuple[str, int], list[Point]]] = defaultdict(lambda: defaultdict(list))
    for point in some:
        rule = "" if point.algorithm == "DiffusionNFT" else f" ({point.algorithm})"
        course = found[f"{point.arm}{rule}"][point.run]
        if point.when == BEFORE:
            course.clear()
        course.append(point)
    return {
        arm: {key: Learned(course[0], course[-1], course[1:-1]) for key, course in of.items() if course[-1].when == AFTER}
        for arm, of in found.items()
    }


def by_annotator(values: Mapping[tuple[str, int], float]) -> list[float]:
    """One figure an annotator, the mean of its seeds: those are what an interval is over."""
    found: dict[str, list[float]] = defaultdict(list)
    for (who, _), value in values.items():
        found[who].append(value)
    return [fmean(some) for some in found.values()]


def arms_table(found: Mapping[str, Mapping[tuple[str, int], Learned]]) -> str:
    some = {key: one for of in found.values() for key, one in of.items()}  # of one annotator and seed all arms begin alike
    before = [f"{fmean(by_annotator({k: getattr(one.before, n) for k, one in some.items()})):.3f}" for n in FIGURES[:-1]]
    rows: list[list[object]] = [["before training", len(some), *before, 0, 0]]
    for arm, of in found.items():
        values = [by_annotator({key: getattr(one.after, name) for key, one in of.items()}) for name in FIGURES]
        calls = fmean(one.after.judge_calls for one in of.values())
        rows.append([arm, len(of), *(said(some, signed=False) for some in values), f"{calls:,.0f}"])
    return table(["arm", "runs", *FIGURES, "judge calls"], rows)


def annotators_table(found: Mapping[str, Mapping[tuple[str, int], Learned]]) -> str:
    """Taste that each annotator's policies meet at the end: the mean of their seeds."""
    rows = []
    for who in dict.fromkeys(who for of in found.values() for who, _ in of):
        taste = {arm: [one.after.taste for (name, _), one in of.items() if name == who] for arm, of in found.items()}
        before = next(one.before.taste for of in found.values() for (name, _), one in of.items() if name == who)
        rows.append([who, f"{before:.2f}", *(f"{fmean(some):.2f}" if some else "-" for some in taste.values())])
    return table(["taste met, after", "before", *found], rows)


def gaps(ours: Learned, theirs: Learned, condition: str) -> dict[str, float] | None:
    """One run minus another; None where one of them has nothing of what is to be equal."""
    if condition == "images":
        return {name: getattr(ours.after, name) - getattr(theirs.after, name) for name in FIGURES}
    place = min(ours.most(condition), theirs.most(condition))
    if place <= 0:
        return None
    a, b = ours.at(condition, place), theirs.at(condition, place)
    return {name: a[name] - b[name] for name in FIGURES}


def differences(found: Mapping[str, Mapping[tuple[str, int], Learned]], reference: str, condition: str) -> str:
    """Of each arm to one of them, on an equal footing."""
    rows = []
    for arm, of in found.items():
        both = [key for key in of if key in found[reference]]
        of_runs = {key: gaps(of[key], found[reference][key], condition) for key in both}
        known = {key: gap for key, gap in of_runs.items() if gap is not None}
        if arm != reference and len({who for who, _ in known}) > 1:
            named = {n: by_annotator({k: gap[n] for k, gap in known.items()}) for n in ("taste", "followed", "worth")}
            rows.append((arm, len(known), named))
    corrected = {name: holm([t_p_value(named[name]) for *_, named in rows]) for name in ("taste", "worth")}
    lines = []
    for row, (arm, runs, named) in enumerate(rows):
        taste, followed, worth = (said(named[name]) for name in ("taste", "followed", "worth"))
        p_taste, p_worth = (f"{corrected[name][row]:.3f}" for name in ("taste", "worth"))
        lines.append([arm, runs, taste, p_taste, followed, worth, p_worth])
    heads = [f"minus {reference}, equal {condition.replace('_', ' ')}", "runs", "taste", "p", "followed", "worth", "p"]
    return table(heads, lines)


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="+", type=Path)
    parser.add_argument("--reference", default="prompt_alone")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    some = [point for place in given.places for point in read(place)]
    found = arms(some)
    if given.reference not in found:
        raise UserError(f"--reference {given.reference!r}: no such arm; there are {', '.join(map(repr, found))}")
    if given.keep:
        keep((p for arm in found.values() for one in arm.values() for p in (one.before, *one.course, one.after)), given.keep)
    compared = [differences(found, given.reference, condition) for condition in CONDITIONS]
    print(arms_table(found), *compared, annotators_table(found), sep="\n\n")


if __name__ == "__main__":
    main()
