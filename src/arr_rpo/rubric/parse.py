"""A rubric from text, strictly: what does not fit is an error, nothing is repaired silently."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from arr_rpo.types import Criterion, Rubric

MAX_CRITERIA = 12


class RubricError(ValueError):
    """The text is no rubric; the message says why."""


def parse_rubric(text: str, provenance: Mapping[str, str]) -> Rubric:
    """The rubric in a JSON object {"criteria": [{"name", "question", "weight"?}, ...]}.

    Raises:
        RubricError: malformed JSON, no criteria, an empty or repeated question, a weight that is not a positive number.
    """
    try:
        data = json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        raise RubricError(f"not JSON ({error}): {_short(text)}") from error
    if not isinstance(data, dict) or set(data) != {"criteria"} or not isinstance(data["criteria"], list):
        raise RubricError(f'not an object with the one key "criteria", a list: {_short(text)}')
    if not 1 <= len(data["criteria"]) <= MAX_CRITERIA:
        raise RubricError(f"{len(data['criteria'])} criteria; 1 to {MAX_CRITERIA} are allowed: {_short(text)}")
    criteria = tuple(_criterion(entry) for entry in data["criteria"])
    questions = [c.question for c in criteria]
    if repeated := {q for q in questions if questions.count(q) > 1}:
        raise RubricError(f"asked twice: {sorted(repeated)}")
    return Rubric(criteria, dict(provenance))


def _criterion(entry: Any) -> Criterion:
    if not isinstance(entry, dict) or not {"name", "question"} <= set(entry) <= {"name", "question", "weight"}:
        raise RubricError(f"a criterion has a name, a question and perhaps a weight, not {_short(json.dumps(entry))}")
    name, question, weight = entry["name"], entry["question"], entry.get("weight", 1.0)
    if not (isinstance(name, str) and name.strip() and isinstance(question, str) and question.strip()):
        raise RubricError(f"name and question must be text: {_short(json.dumps(entry))}")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
        raise RubricError(f"weight must be a positive number, not {weight!r}")
    return Criterion(name.strip(), question.strip(), float(weight))


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise RubricError(f"a key stands twice in one object: {sorted(k for k in set(keys) if keys.count(k) > 1)}")
    return dict(pairs)


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."


def to_json(rubric: Rubric) -> dict[str, Any]:
    """The rubric with its provenance, for the store and the verdict log."""
    return {
        "criteria": [{"name": c.name, "question": c.question, "weight": c.weight} for c in rubric.criteria],
        "provenance": dict(rubric.provenance),
    }
