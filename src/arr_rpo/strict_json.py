"""JSON without its laxer readings: a key stands once, NaN and Infinity are no numbers, and nothing is nested or as long as only
hostile texts are. Whoever reads JSON that may be another's reads it here."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date, time
from typing import Any, NoReturn

DEEPEST = 100  # levels; what is written again, or shown, goes through them by recursion
MOST_DIGITS = 300  # of a whole number, so that it fits a float
HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # or one of a whole pair


class RepeatedKeyError(ValueError):
    """A key stands twice in one object."""


def decode(text: str | bytes, odd: list[str] | None = None) -> Any:
    """What a JSON text says.

    odd: of files of our own, which may hold what Python writes of numbers that are not finite: they become None, and their
        names are added here. Without it they are an error.

    Raises:
        ValueError: it is no such text; `json.JSONDecodeError`, with the line, where the syntax is at fault, and
            `RepeatedKeyError` where two values could be meant.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        data = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_number if odd is None else odd.append,  # `append` returns None, which is then the value
            parse_float=functools.partial(_finite, odd),
            parse_int=_whole,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    _bounded(data)
    if HALF_PAIR.search(text) and not _sendable(data):
        raise ValueError("a text in it holds half of a surrogate pair, which can be neither sent nor written")
    return data


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


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{short(name)} is no number")


def _finite(odd: list[str] | None, digits: str) -> float | None:
    value = float(digits)
    if math.isfinite(value):
        return value
    if odd is None:  # 1e999, say
        _no_number(digits)
    odd.append("Infinity")
    return None


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _sendable(data: Any) -> bool:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _bounded(data: Any) -> None:
    level = [data]
    for _ in range(DEEPEST + 1):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise ValueError("nested too deeply")


def plain(columns: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON can hold of a row: dates as text; no pictures, bytes, or numbers that are not finite."""
    found = {}
    for key, value in columns.items():
        told = value.isoformat() if isinstance(value, date | time) else value
        with contextlib.suppress(TypeError, ValueError):
            json.dumps(told, allow_nan=False)
            found[key] = told
    return found
