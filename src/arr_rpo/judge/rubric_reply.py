"""Rubrics from replies, strictly: what does not fit is an error, nothing is repaired silently."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from arr_rpo import strict_json
from arr_rpo.strict_json import short
from arr_rpo.types import Criterion, Reason, Rubric

# The most that is read, and that ARR tries (arXiv 2605.08354). Writers are asked for fewer, and rubrics keep fewer: what texts,
# configs and lessons say of that is held together by tests/rubric/test_how_many_criteria.py.
MAX_CRITERIA = 20
MAX_WEIGHT = 1000.0
KEYS, OPTIONAL = {"name", "question"}, {"weight", "theme"}
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of a surrogate pair, line and paragraph separators


class RubricError(ValueError):
    """The text is no rubric; the message says why. criterion: which one (from 0), where it is one's fault."""

    reason = Reason.OTHER_FORM

    def __init__(self, message: str, criterion: int | None = None) -> None:
        super().__init__(message if criterion is None else f"criterion {criterion + 1}: {message}")
        self.criterion = criterion


class NotJsonError(RubricError):
    """It is not even JSON: cut off, fenced, or prose."""

    reason = Reason.NOT_JSON


def parse_rubric(text: str, provenance: Mapping[str, str]) -> Rubric:
    """The rubric in a JSON object {"criteria": [{"name", "question", "weight"?, "theme"?}, ...]}.

    Raises:
        RubricError: malformed JSON, no criteria, an empty or repeated question, a text of more than one line, a weight
            that is not a positive number.
    """
    data = decode(text)
    if not isinstance(data, dict) or set(data) != {"criteria"}:
        raise RubricError(f'not an object with the one key "criteria", a list: {short(text)}')
    return Rubric(criteria_of(data["criteria"]), dict(provenance))


def parse_structure(text: str, criteria: Sequence[Criterion]) -> tuple[Criterion, ...]:
    """The criteria under the themes of {"themes": [{"theme", "criteria": [numbers from 1]}, ...]}, in its order.

    A criterion that it leaves out is judged redundant.

    Raises:
        RubricError: malformed JSON, a theme that is empty or there twice, a number that is unknown or there twice.
    """
    data = decode(text)
    if not isinstance(data, dict) or set(data) != {"themes"} or not isinstance(data["themes"], list) or not data["themes"]:
        raise RubricError(f'not an object with the one key "themes", a list: {short(text)}')
    structured: list[Criterion] = []
    seen_numbers: set[int] = set()
    seen_themes: set[str] = set()
    for entry in data["themes"]:
        if not isinstance(entry, dict) or set(entry) != {"theme", "criteria"} or not isinstance(entry["criteria"], list):
            raise RubricError(f'an entry has a "theme" and its "criteria", a list of numbers, not {_dump(entry)}')
        theme = line(entry["theme"], "a theme")
        if theme in seen_themes or not entry["criteria"]:
            raise RubricError(f"theme {theme!r} {'stands there twice' if theme in seen_themes else 'has no criteria'}")
        seen_themes.add(theme)
        for number in entry["criteria"]:
            if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(criteria):
                raise RubricError(f"{number!r} is no number of a criterion: there are 1 to {len(criteria)}")
            if number in seen_numbers:
                raise RubricError(f"criterion {number} stands there twice")
            seen_numbers.add(number)
            chosen = criteria[number - 1]
            structured.append(Criterion(chosen.name, chosen.question, chosen.weight, theme))
    return tuple(structured)


def criteria_of(entries: Any) -> tuple[Criterion, ...]:
    """The criteria in a list of objects, as JSON or YAML gave them.

    Raises:
        RubricError: see `parse_rubric`.
    """
    if not isinstance(entries, list):
        raise RubricError(f'"criteria" must be a list: {_dump(entries)}')
    if not 1 <= len(entries) <= MAX_CRITERIA:
        raise RubricError(f"{len(entries)} criteria; 1 to {MAX_CRITERIA} are allowed")
    criteria = tuple(_criterion(entry, number) for number, entry in enumerate(entries))
    questions = [c.question for c in criteria]
    for number, question in enumerate(questions):
        if question in questions[:number]:
            raise RubricError(f"asked twice: {question!r}", number)
    return criteria


def _criterion(entry: Any, number: int) -> Criterion:
    if not isinstance(entry, dict) or not KEYS <= set(entry) <= KEYS | OPTIONAL:
        raise RubricError(f"it has a name, a question, perhaps a weight and a theme, not {_dump(entry)}", number)
    try:
        name, question = line(entry["name"], "name"), line(entry["question"], "question")
        theme = line(entry["theme"], "theme") if entry.get("theme", "") != "" else ""
    except RubricError as error:
        raise RubricError(str(error), number) from error
    weight = entry.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= MAX_WEIGHT:
        raise RubricError(f"weight must be a positive number up to {MAX_WEIGHT:.0f}, not {short(repr(weight))}", number)
    return Criterion(name, question, float(weight), theme)


def line(value: Any, what: str) -> str:
    """One line of text, stripped.

    Raises:
        RubricError: it is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise RubricError(f"{what} must be text, not {_dump(value)}")
    text = value.strip()
    if any(unicodedata.category(character) in UNPRINTABLE for character in text):
        raise RubricError(f"{what} must be one line of printable text: {short(ascii(text))}")
    return text


def decode(text: str) -> Any:
    """See `strict_json.decode`.

    Raises:
        NotJsonError: it is no such text.
    """
    try:
        return strict_json.decode(text)
    except ValueError as error:
        raise NotJsonError(f"not JSON ({error}): {short(text)}") from error


def _dump(value: Any) -> str:
    return short(ascii(value))


def to_json(rubric: Rubric) -> dict[str, Any]:
    """The rubric with its provenance, for the store and the verdict log."""
    criteria = [{**criterion_json(c), "weight": c.weight} for c in rubric.criteria]
    return {"criteria": criteria, "provenance": dict(rubric.provenance)}


def criterion_json(criterion: Criterion) -> dict[str, Any]:
    """What it asks; what it does not set is left out."""
    theme = {"theme": criterion.theme} if criterion.theme else {}
    weight = {"weight": criterion.weight} if criterion.weight != 1.0 else {}
    return {**theme, "name": criterion.name, "question": criterion.question, **weight}
