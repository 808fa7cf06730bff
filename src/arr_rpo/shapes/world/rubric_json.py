"""Rubrics of the world as JSON, as its judge and its oracle write them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from arr_rpo.shapes.world.general import theme_of


def rubric_json(criteria: Sequence[tuple[str, str]]) -> str:
    """A rubric of (name, question) as the judge writes it."""
    return json.dumps({"criteria": [{"name": n, "question": q} for n, q in criteria]}, separators=(",", ":"))


def themes_json(questions: Sequence[str]) -> str:
    """Numbered questions under their themes, as the judge structures them."""
    themes: dict[str, list[int]] = {}
    for number, question in enumerate(questions, start=1):
        themes.setdefault(theme_of(question), []).append(number)
    return json.dumps({"themes": [{"theme": t, "criteria": ns} for t, ns in themes.items()]}, separators=(",", ":"))
