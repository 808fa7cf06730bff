"""A study as Markdown, for a README: what is said in words and tables, and two figures beside it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from arr_rpo.report import sentences, svg, tables
from arr_rpo.report.analysis import Analysis
from arr_rpo.report.curves import lines
from arr_rpo.report.liked import EXPLAINED, TITLE, Liked
from arr_rpo.report.study import Study
from arr_rpo.report.tables import Cell, Table

SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*[]|"} | {"<": "&lt;", "&": "&amp;", "\n": " "})
# Special in some places only: an underscore inside a word and a ">" inside a line are text as they are, and stay legible.
IN_PLACES = re.compile(r"(?<!\w)_|_(?!\w)|^>")


def markdown(study: Study, analyses: Sequence[Analysis], liked: Sequence[Liked], pictures: Collection[str], page: str) -> str:
    """The whole text. pictures, page: names of files beside it, as links."""
    parts = [f"# {plain(study.name)}", plain(study.question), plain(sentences.facts(study))]
    parts.append(f"Curves, pictures and verdicts: [{page}]({page}), one file that works offline.")
    if missing := sentences.missing(study):
        parts += ["## What is missing", _list(missing)]
    if alarms := sentences.alarms(study):
        parts += ["## Alarms", _list(alarms)]
    found = _list([found.text for found in sentences.findings(analyses[0])])
    parts += ["## What the data show", found or sentences.nothing_compared(study)]
    for number, analysis in enumerate(analyses):
        parts += [
            f"## Results{f': held-out {analysis.measure}' * bool(analysis.measure)}",
            table(tables.results(study, analysis)),
        ]
        parts += [f"![{Path(name).stem}]({name})" for name in pictures if not number]
        if (further := tables.figures(analysis)).rows:
            parts += ["Further figures after training:", table(further)]
        differences = tables.comparisons(analysis)
        if differences.rows:
            parts += ["Paired differences; p-values corrected by Holm over each column.", table(differences)]
            parts.append(_list(sentences.comparisons(analysis)))
    parts.append(_list(analyses[0].methods))
    parts += [f"## {TITLE}", EXPLAINED] if liked else []
    for one in liked:
        asked = [f"{one.asked_title}:", table(one.asked)] if one.asked.rows else ["No rubric was asked."]
        parts += [f"### {plain(one.title)}", "Held-out pictures:", table(one.wanted), *asked]
    configs = tables.config_differences(study)
    if configs.rows:
        parts += ["## What differs between the arms", table(configs)]
    parts += ["## Runs, commands and versions"]
    parts += ["\n".join(f"    {line}" for command in sentences.commands(study) for line in command.splitlines())]
    parts += [_list(sentences.versions(study)), table(tables.runs(study))]
    return "\n\n".join(part for part in parts if part) + "\n"


def figures(study: Study, analysis: Analysis, points: int) -> dict[str, str]:
    """File name -> SVG: each arm's change with its interval, and the measure against images. Those that have data."""
    changes = [
        (arm.arm if arm.change.units > 1 else f"{arm.arm} (one {study.unit})", span)
        for arm in analysis.arms
        if arm.change and (span := tables.span(arm.change))
    ]
    found = {"change.svg": svg.forest(changes, f"change of held-out {analysis.measure}")} if changes else {}
    drawn = lines(study, f"measured/{analysis.measure}", points)
    bands = [(study.arms[line["arm"]], band["x"], band["mean"]) for line in drawn if (band := line["bands"].get("images"))]
    if bands:
        found["heldout.svg"] = svg.lines(bands, f"held-out {analysis.measure}, mean over runs", "images drawn in training")
    return found


def table(of: Table) -> str:
    ruler = ["---:" if column in of.numeric else "---" for column in range(len(of.head))]
    lines = [[plain(name) for name in of.head], ruler, *([_cell(cell) for cell in row] for row in of.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    return plain(cell.text) + (f" ({plain(cell.below)})" if cell.below else "")


def _list(said: Sequence[str]) -> str:
    return "\n".join(f"- {plain(sentence)}" for sentence in said)


def plain(text: str) -> str:
    """Text that Markdown and HTML take for text."""
    return IN_PLACES.sub(r"\\\g<0>", text.translate(SPECIAL))
