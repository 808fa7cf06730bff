"""A study as one HTML file that holds all it needs: tables from here, the rest drawn by its own script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from arr_rpo.report import sentences, svg, tables
from arr_rpo.report.analysis import Analysis
from arr_rpo.report.curves import curves
from arr_rpo.report.liked import EXPLAINED, TITLE, Liked, before_and_after
from arr_rpo.report.pictures import Album, grids
from arr_rpo.report.study import Study
from arr_rpo.report.verdicts import RELATIONS, agreement, sample

SECTIONS = (
    ("findings", "Findings"),
    ("results", "Results"),
    ("curves", "Curves"),
    ("pictures", "Pictures"),
    ("liked", "What is liked"),
    ("verdicts", "Verdicts"),
    ("configs", "Configs"),
    ("runs", "Runs"),
)
SCRIPTS = ("page.js", "curves.js", "pictures.js", "verdicts.js")


@dataclass(frozen=True)
class Limits:
    """What a page shows at most, so that it stays small: judged pairs in all, held-out prompts of a grid, grids (a replicate
    each), runs that were measured by named criteria, points of a line, criteria with a curve or a row of their own, pixels of a
    picture's longer side, and megabytes of all pictures."""

    verdicts: int
    prompts: int
    replicates: int
    liked: int
    points: int
    criteria: int
    picture_side: int
    picture_megabytes: float


def page(study: Study, analyses: Sequence[Analysis], liked: Sequence[Liked], limits: Limits) -> str:
    """The whole file. Whatever came from a run (prompts, names, replies) is escaped."""
    album = Album(limits.picture_side, 1e6 * limits.picture_megabytes)
    unread: list[str] = []
    verdicts, sampled = sample(study, album, limits.verdicts, unread)
    grids_of_liked = [before_and_after(one, album, limits.prompts) for one in liked]
    data: dict[str, Any] = {
        "arms": [dict(zip(("name", "colour", "dash"), (arm, *_style(i)), strict=True)) for i, arm in enumerate(study.arms)],
        "curves": curves(study, limits.points, limits.criteria),
        "grids": grids(study, album, limits.prompts, limits.replicates),
        "liked": grids_of_liked,
        "verdicts": verdicts,
        "relations": RELATIONS,
        "pictures": album.encoded(),
    }
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            study=study,
            facts=sentences.facts(study),
            sections=[(name, title) for name, title in SECTIONS if name != "liked" or liked],
            liked=list(zip(liked, grids_of_liked, strict=True)),
            liked_title=TITLE,
            liked_explained=EXPLAINED,
            missing=sentences.missing(study),
            alarms=sentences.alarms(study),
            findings=sentences.findings(analyses[0]),
            nothing_compared=sentences.nothing_compared(study),
            results=[_results(study, analysis) for analysis in analyses],
            methods=analyses[0].methods,
            confidence=f"{100 * analyses[0].confidence:g}%",
            points=limits.points,
            agreement=agreement(verdicts, study),
            sampled=sampled,
            unread=unread,
            configs=tables.config_differences(study),
            commands=sentences.commands(study),
            versions=sentences.versions(study),
            runs=tables.runs(study),
            data=data,
            measures=[(group, list(some)) for group, some in groupby(data["curves"]["metrics"], itemgetter("group"))],
            json=inline_json(data),
            css=Markup(_text("page.css")),
            script=Markup("\n".join(map(_text, SCRIPTS))),
            bar=lambda span, scale: Markup(svg.bar(span, scale)),
        )
    )


def _results(study: Study, analysis: Analysis) -> dict[str, Any]:
    """What one measure says, for the page."""
    return {
        "measure": analysis.measure,
        "table": tables.results(study, analysis),
        "figures": tables.figures(analysis),
        "comparisons": tables.comparisons(analysis),
        "sentences": sentences.comparisons(analysis),
    }


def inline_json(data: Any) -> Markup:
    """JSON that no HTML parser takes for markup, whatever its strings hold.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _style(number: int) -> tuple[int, int]:
    return number % len(svg.COLOURS), svg.style(number)[1]


def _environment() -> Environment:
    loader = PackageLoader("arr_rpo.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _text(name: str) -> str:
    return (files("arr_rpo.report") / "templates" / name).read_text(encoding="utf-8")
