"""What a measure likes, beside what the rubric asked and the judge answered, and pictures before and after: of runs that were
measured by one that names what it looks for, such as a person with tastes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from arr_rpo.report.files import read_as
from arr_rpo.report.pictures import Album, evenly
from arr_rpo.report.sentences import form_of
from arr_rpo.report.study import HeldoutPrompt, Run, Study, number_at
from arr_rpo.report.tables import Cell, Table
from arr_rpo.run.layout import Rows

DECIDED = {"A": 0, "B": 1}
TITLE = "What is liked, and what the rubric asks"
EXPLAINED = (
    "Of runs that were measured by one who names what is liked: the share of held-out pictures that have it, of the prompts "
    "that leave it open; beside it what the rubrics of training asked and the judge answered. P(yes): over all pictures. "
    "Apart: share of the compared pairs in which it holds for one of the two alone. Followed: of those, the share that was "
    "decided for that one."
)


@dataclass
class Asked:
    """A criterion in the verdicts of a run, or in its grades. verdicts: those whose rubric had it. answers: P(yes) of each
    picture asked about. pairs: that were compared. apart: those of which it holds for one picture alone. followed: those of
    them that were decided for that picture."""

    weight: float | None
    verdicts: int
    answers: list[float]
    pairs: int = 0
    apart: int = 0
    followed: int = 0


@dataclass(frozen=True)
class Liked:
    """What one measure likes of one run's pictures, and what was asked. more: criteria that `asked` leaves out."""

    run: Run
    measure: str
    wanted: Table
    asked: Table
    more: int

    @property
    def title(self) -> str:
        return f"{', '.join(filter(None, (self.run.arm, self.run.which)))}: {self.measure}"

    @property
    def asked_title(self) -> str:
        return f"Verdicts of training{f', without {self.more} that were asked less' * bool(self.more)}"


def liked(study: Study, runs: int, criteria: int) -> list[Liked]:
    """Of at most so many runs, with at most so many criteria that were asked."""
    named = [(run, measure) for run in study.runs for measure in study.measures if _named(run, measure)]
    found = []
    for run, measure in named[:runs]:
        asked, wanted = asked_of(run), wanted_table(run, measure)
        found.append(Liked(run, measure, wanted, asked_table(asked, criteria, wanted), max(0, len(asked) - criteria)))
    return found


def _named(run: Run, measure: str) -> bool:
    return any(found.met for prompt in run.heldout for found in _values(prompt, measure).values())


def _values(prompt: HeldoutPrompt, measure: str) -> dict[str, Any]:
    both = {"before": prompt.before.get(measure), "after": prompt.after.get(measure)}
    return {when: one for when, one in both.items() if one is not None}


# -- what is liked ---------------------------------------------------------------------------------------------------------


def wanted_table(run: Run, measure: str) -> Table:
    """A row a criterion of the measure's: its weight, the held-out prompts for which it counts, and the share of their pictures
    that meet it."""
    met: dict[str, dict[str, list[bool]]] = {}
    for prompt in run.heldout:
        for when, one in _values(prompt, measure).items():
            for name, does in one.met.items():
                met.setdefault(name, {"before": [], "after": []})[when].append(does)
    rows = []
    for name, found in sorted(met.items(), key=lambda item: -(_weight(run, measure, item[0]) or 0)):
        before, after = (_mean(found[when]) for when in ("before", "after"))
        change = None if before is None or after is None else after - before
        weight, prompts = _weight(run, measure, name), max(map(len, found.values()))
        rows.append((Cell(name), *_figures((weight, ".3g"), (prompts, "d"), (before, ".3f"), (after, ".3f"), (change, "+.3f"))))
    return Table(("what is liked", "weight", "prompts", "before", "after", "change"), tuple(rows), frozenset(range(1, 6)))


def _weight(run: Run, measure: str, name: str) -> float | None:
    return number_at(run.measures, measure, "criteria", name)


def _mean(values: list[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def _figures(*figures: tuple[float | None, str]) -> Iterator[Cell]:
    return (Cell(form_of(value, form)) for value, form in figures)


# -- what was asked --------------------------------------------------------------------------------------------------------


def asked_of(run: Run) -> dict[str, Asked]:
    """Question -> what the run's verdicts, or grades, say of it: the most frequent first."""
    found: dict[str, Asked] = {}
    for row in read_as(run.folder / Rows.VERDICTS, _verdict, []):
        for question, weight, answers, side in row:
            one = found.setdefault(question, Asked(weight, 0, []))
            one.verdicts += 1
            one.answers += answers
            if len(answers) == 2:
                one.pairs += 1
                apart = (answers[0] > 0.5) != (answers[1] > 0.5)
                one.apart += apart
                one.followed += apart and side == int(answers[1] > 0.5)
    return dict(sorted(found.items(), key=lambda item: -item[1].verdicts))


def _verdict(row: Mapping[str, Any]) -> list[tuple[str, float | None, list[float], int | None]]:
    """Question, weight in the rubric, answers, and the side that the verdict is for, of each criterion of a row."""
    weights = {str(c["question"]): float(c["weight"]) for c in row.get("rubric") or []}
    said = {str(question): [float(p) for p in answers] for question, *answers in row["checks"]}
    side = DECIDED.get(str(row.get("outcome")))
    return [(question, weights.get(question), said.get(question, []), side) for question in {**weights, **said}]


def asked_table(asked: Mapping[str, Asked], criteria: int, wanted: Table) -> Table:
    """A row a criterion, of those that were asked most; those that say in the same words what is wanted are marked."""
    rows, words = [], {row[0].text for row in wanted.rows}
    for question, one in list(asked.items())[:criteria]:
        apart = one.apart / one.pairs if one.pairs else None
        followed = one.followed / one.apart if one.apart else None
        figures = ((one.weight, ".3g"), (one.verdicts, ",d"), (_mean(one.answers), ".3f"), (apart, ".3f"), (followed, ".3f"))
        rows.append((Cell(question, "is liked" if question in words else ""), *_figures(*figures)))
    head = ("what the rubric asks", "weight", "verdicts", "P(yes)", "apart", "followed")
    return Table(head, tuple(rows), frozenset(range(1, 6)))


# -- pictures --------------------------------------------------------------------------------------------------------------


def before_and_after(of: Liked, album: Album, prompts: int) -> dict[str, Any]:
    """Pictures of at most so many prompts, with what is liked of each."""
    open_ones = [p for p in of.run.heldout if p.pictures and any(one.met for one in _values(p, of.measure).values())]
    rows = [
        {"prompt": p.text, "kind": p.split, "source": None, "cells": list(_cells(p, of.measure, album))}
        for p in evenly(open_ones, prompts)
    ]
    return {"columns": ["before", "after"], "rows": rows}


def _cells(prompt: HeldoutPrompt, measure: str, album: Album) -> Iterator[dict[str, Any] | None]:
    values = _values(prompt, measure)
    for which, when in (("base", "before"), ("trained", "after")):
        number = album.add(prompt.pictures[which]) if which in prompt.pictures else None
        marks = list(values[when].met.items()) if when in values else []
        yield None if number is None else {"picture": number, "met": None, "value": None, "marks": marks}
