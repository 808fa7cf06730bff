"""What a measure likes, beside what the rubric asked: figures counted by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.report.compare import analyses
from arr_rpo.report.estimates import Comparing
from arr_rpo.report.liked import TITLE, asked_of, asked_table, before_and_after, liked, wanted_table
from arr_rpo.report.markdown import markdown
from arr_rpo.report.page import page
from arr_rpo.report.pictures import Album
from arr_rpo.report.read_study import read_study
from arr_rpo.report.study import Study
from arr_rpo.report.tables import Table
from tests.report import made
from tests.report.test_read_study import write, write_run

RED, ROW = "is there something red?", "do all stand in one row?"
NO = {"before": None, "after": None}


def verdict(outcome: str, *checks: list[Any], weights: dict[str, float] | None = None) -> dict[str, Any]:
    rubric = None if weights is None else [{"name": q, "question": q, "weight": w} for q, w in weights.items()]
    return {"update": 0, "outcome": outcome, "rubric": rubric, "checks": list(checks)}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return one_run(tmp_path)


def one_run(place: Path) -> Study:
    """Red is met by one of two pictures before and by both after; the row is open in one prompt, and met after."""
    folder = write_run(place / "run")
    measures = {"ada": {"before": 0.5, "after": 0.9, "figures": {}, "criteria": {ROW: 0.7, RED: 1.0}}}
    made.write(folder / "summary.json", {"measures": measures, "judge": {"calls": 20}, "images": 8, "kl": 3.0})
    rows = []
    for i, (before, after) in enumerate([({RED: True}, {RED: True}), ({RED: False, ROW: False}, {RED: True, ROW: True})]):
        pictures = {which: f"heldout_pictures/{i}_{which}.png" for which in ("base", "trained")}
        for path in pictures.values():
            made.picture(folder / path, (100 * i, 0, 0))
        values = {"before": before, "after": after}
        of = {when: {"ada": {"value": 0.5, "figures": {}, "met": met}} for when, met in values.items()}
        rows.append(
            {"prompt_id": f"h/{i}", "split": "heldout", "tag": "", "prompt": f"a <b>circle</b> {i}", **of, "pictures": pictures}
        )
    rows.append({"prompt_id": "h/2", "split": "heldout", "tag": "", "prompt": "closed", **NO, "pictures": {}})
    write(folder / "heldout.jsonl", *rows)
    one, both = {RED: 1.0}, {RED: 1.0, "is it left?": 0.5}
    write(
        folder / "verdicts.jsonl",
        verdict("A", [RED, 0.9, 0.1], weights=one),  # apart, and followed
        verdict("B", [RED, 0.9, 0.1], ["is it left?", 0.2, 0.4], weights=both),  # apart, and not followed
        verdict("tie", [RED, 0.8, 0.7], weights=one),
        verdict("inconsistent", [RED, 0.2, 0.8], weights=one),  # apart, and not decided
        {"update": 1, "outcome": "A", "rubric": 3},  # of another version
    )
    return read_study(folder)


def said(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_what_is_liked(study: Study) -> None:
    assert said(wanted_table(study.runs[0], "ada")) == [
        [RED, "1", "2", "0.500", "1.000", "+0.500"],
        [ROW, "0.7", "1", "0.000", "1.000", "+1.000"],
    ]


def test_what_was_asked(study: Study) -> None:
    asked, wanted = asked_of(study.runs[0]), wanted_table(study.runs[0], "ada")
    assert said(asked_table(asked, 12, wanted)) == [
        [RED, "1", "4", "0.562", "0.750", "0.333"],  # 4.5 of 8; three of four pairs apart, of which one was followed
        ["is it left?", "0.5", "1", "0.300", "0.000", "–"],
    ]
    (row,) = asked_table(asked, 1, wanted).rows
    assert (row[0].text, row[0].below) == (RED, "is liked")


def test_grades_of_single_pictures_tell_nothing_apart(study: Study) -> None:
    folder = study.runs[0].folder
    write(
        folder / "verdicts.jsonl",
        *({"update": 0, "kind": "grade", "value": p, "rubric": None, "checks": [[RED, p]]} for p in (0.2, 0.6)),
    )
    asked = asked_of(study.runs[0])
    assert said(asked_table(asked, 12, wanted_table(study.runs[0], "ada"))) == [[RED, "–", "2", "0.400", "–", "–"]]


def test_before_and_after(study: Study) -> None:
    (found,) = liked(study, runs=2, criteria=1)
    assert (found.title, found.more) == ("t2i_rpo, seed 1: ada", 1)
    first, second = before_and_after(found, Album(side=96, budget=1e6), prompts=8)["rows"]
    assert first["prompt"] == "a <b>circle</b> 0"
    assert [cell["marks"] for cell in second["cells"]] == [[(RED, False), (ROW, False)], [(RED, True), (ROW, True)]]


def test_it_is_on_the_page_where_there_is_something_to_say(study: Study, tmp_path: Path) -> None:
    how = Comparing(confidence=0.95, draws=100, seed=1, kl=None)
    html = page(study, analyses(study, how), liked(study, 2, 12), made.LIMITS)
    assert '<a href="#liked">What is liked</a>' in html
    assert html.count(RED) > 2 and 'id="liked-0"' in html
    without = dataclasses.replace(study, runs=tuple(dataclasses.replace(run, heldout=()) for run in study.runs))
    assert liked(without, 2, 12) == []
    assert "#liked" not in page(without, analyses(without, how), [], made.LIMITS)


def test_it_is_in_the_markdown_too(study: Study) -> None:
    how = Comparing(confidence=0.95, draws=100, seed=1, kl=None)
    text = markdown(study, analyses(study, how), liked(study, 2, 1), [], "report.html")
    section = text[text.index(f"## {TITLE}") : text.index("## Runs, commands and versions")]
    assert "### t2i_rpo, seed 1: ada" in section
    assert f"| {ROW} | 0.7 | 1 | 0.000 | 1.000 | +1.000 |" in section
    assert "Verdicts of training, without 1 that were asked less:" in section
    assert f"| {RED} (is liked) | 1 | 4 | 0.562 | 0.750 | 0.333 |" in section
    assert TITLE not in markdown(study, analyses(study, how), [], [], "report.html")
