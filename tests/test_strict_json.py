"""Texts that Python's reader takes and nobody can have meant, or that end it."""

from __future__ import annotations

import json

import pytest

from arr_rpo.strict_json import DEEPEST, MOST_DIGITS, decode

HALF = '"\\ud83d"'


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000])
def test_deep_nesting(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        decode(text)


def test_the_deepest_that_is_read() -> None:
    assert decode("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(ValueError, match="nested too deeply"):
        decode("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9" * 5_000, "a number of 5,000 digits"),
        ("1e999", "1e999 is no number"),
        ("-1e999", "-1e999 is no number"),
        ("NaN", "NaN is no number"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice"),
        (HALF, "half of a surrogate pair"),
        (f'{{"a": [{HALF}]}}', "half of a surrogate pair"),
        (f"{{{HALF}: 1}}", "half of a surrogate pair"),
        ("{", "line 1"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(text)


def test_what_is_read() -> None:
    said = {"a": [1, -2.5, True, None], "face": "\U0001f600", "n": int("9" * MOST_DIGITS)}
    assert decode(json.dumps(said)) == decode(json.dumps(said, ensure_ascii=False).encode()) == said
    assert float(decode("9" * MOST_DIGITS)) < float("inf")


def test_numbers_that_are_not_finite_can_be_left_out() -> None:
    odd: list[str] = []
    assert decode('[NaN, 1, Infinity, -Infinity, 1e999, {"x": NaN}]', odd) == [None, 1, None, None, None, {"x": None}]
    assert sorted(odd) == ["-Infinity", "Infinity", "Infinity", "NaN", "NaN"]
