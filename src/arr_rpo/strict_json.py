"""JSON without its laxer readings: a key stands once, and NaN and Infinity are no numbers."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


class RepeatedKeyError(ValueError):
    """A key stands twice in one object."""


def decode(text: str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is no such text; `json.JSONDecodeError`, with the line, where the syntax is at fault, and
            `RepeatedKeyError` where two values could be meant.
    """
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def short(text: str) -> str:
    """Its beginning, and only what can be written to a log: no half of a surrogate pair."""
    text = text if len(text) <= 200 else text[:200] + "..."
    return text.encode("utf-8", "backslashreplace").decode()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise RepeatedKeyError(f"the key {short(repeated)!r} stands twice in one object")
    return data


def _no_constants(name: str) -> None:
    raise ValueError(f"{name} is no number")
