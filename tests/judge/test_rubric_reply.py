"""Replies of writers: rubrics and structures, strictly."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr_rpo.judge.rubric_reply import RubricError, parse_rubric, parse_structure, to_json
from arr_rpo.types import Criterion

GOOD = '{"criteria": [{"name": "object", "question": "is there a circle?"}, {"name": "n", "question": "two?", "weight": 2}]}'


def one(**changes: object) -> str:
    return json.dumps({"criteria": [{"name": "a", "question": "x?", **changes}]})


def test_a_good_rubric() -> None:
    rubric = parse_rubric(GOOD, {"writer": "x"})
    assert rubric.criteria == (Criterion("object", "is there a circle?", 1.0), Criterion("n", "two?", 2.0))
    assert rubric.provenance["writer"] == "x"


def test_theme_weight_and_other_scripts() -> None:
    [criterion] = parse_rubric(one(question=" 图中是否有两只猫?　", theme=" Número ", weight=0.5), {}).criteria
    assert criterion == Criterion("a", "图中是否有两只猫?", 0.5, "Número")
    assert parse_rubric(one(theme=""), {}).criteria == (Criterion("a", "x?"),)


def test_what_is_logged_says_everything() -> None:
    assert to_json(parse_rubric(one(theme="t"), {"writer": "w"})) == {
        "criteria": [{"theme": "t", "name": "a", "question": "x?", "weight": 1.0}],
        "provenance": {"writer": "w"},
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("no", "not JSON"),
        ("Here is the rubric: " + GOOD, "not JSON"),
        (f"```json\n{GOOD}\n```", "not JSON"),
        (GOOD[:-1], "not JSON"),
        (GOOD + "?", "not JSON"),
        (GOOD + GOOD, "not JSON"),
        (GOOD.replace('"', "'"), "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "one key"),
        ("null", "one key"),
        ('{"criteria": []}', "0 criteria"),
        ('{"criteria": {}}', "must be a list"),
        ('{"criteria": null}', "must be a list"),
        ('{"criteria": [], "x": 1}', "one key"),
        ('{"rubric": []}', "one key"),
        (json.dumps({"criteria": [{"name": "a", "question": f"{i}?"} for i in range(21)]}), "21 criteria"),
        ('{"criteria": ["is it red?"]}', "criterion 1: it has a name"),
        ('{"criteria": [{"name": "a"}]}', "a name, a question"),
        (one(question=" "), "question must be text"),
        (one(question=None), "question must be text"),
        (one(question=["x"]), "question must be text"),
        (one(name=3), "name must be text"),
        (one(name=""), "name must be text"),
        (one(question="is it red?\nimage A is better"), "one line"),
        (one(question="a\u2028b"), "one line"),
        (one(question="bell\u0007"), "one line"),
        ('{"criteria": [{"name": "a", "question": "half \\ud800"}]}', "surrogate"),
        (one(theme=" "), "theme must be text"),
        (one(theme=1), "theme must be text"),
        (one(theme=None), "theme must be text"),
        (one(weight=0), "positive"),
        (one(weight=-1), "positive"),
        (one(weight=True), "positive"),
        (one(weight="2"), "positive"),
        (one(weight=None), "positive"),
        (one(weight=10**400), "digits"),
        (one(weight=float("inf")), "Infinity"),
        (one(weight=float("nan")), "NaN"),
        (one(weight=1).replace(": 1}", ": " + "1" * 5000 + "}"), "not JSON"),
        (one(weight=1).replace(": 1}", ": 1e999}"), "1e999 is no number"),
        (one(label=1), "a name, a question"),
        (one(answer="yes"), "a name, a question"),
        ('{"criteria": [{"name": "a", "question": "x"}, {"name": "b", "question": "x"}]}', "criterion 2: asked twice"),
        ('{"criteria": [{"name": "a", "question": "x"}, {"name": "b", "question": " x "}]}', "asked twice"),
        ('{"criteria": [{"name": "a", "name": "b", "question": "x"}]}', "twice in one object"),
        ('{"criteria": [{"name": "a", "question": "x"}], "criteria": []}', "twice in one object"),
    ],
)
def test_malformed_rubrics_say_why(text: str, why: str) -> None:
    with pytest.raises(RubricError, match=why):
        parse_rubric(text, {})


CRITERIA = tuple(Criterion(name, f"{name}?", weight) for name, weight in (("a", 1.0), ("b", 2.0), ("c", 1.0)))


def themes(*entries: object) -> str:
    return json.dumps({"themes": [{"theme": t, "criteria": n} for t, n in entries]})  # type: ignore[misc]


def test_a_structure_orders_groups_and_leaves_out() -> None:
    assert parse_structure(themes(("late", [3]), (" early ", [2])), CRITERIA) == (
        Criterion("c", "c?", 1.0, "late"),
        Criterion("b", "b?", 2.0, "early"),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("1. a", "not JSON"),
        (themes(("t", [1]))[:-1], "not JSON"),
        ("[]", "one key"),
        ('{"themes": []}', "one key"),
        ('{"themes": {"t": [1]}}', "one key"),
        ('{"themes": [{"theme": "t", "criteria": [1]}], "left_out": [2]}', "one key"),
        ('{"themes": [[1]]}', "an entry has"),
        ('{"themes": [{"theme": "t"}]}', "an entry has"),
        ('{"themes": [{"theme": "t", "criteria": 1}]}', "an entry has"),
        ('{"themes": [{"theme": "t", "criteria": [1], "tips": []}]}', "an entry has"),
        ('{"themes": [{"theme": "t", "theme": "u", "criteria": [1]}]}', "twice in one object"),
        (themes(("", [1])), "a theme must be text"),
        (themes((None, [1])), "a theme must be text"),
        (themes(("two\nlines", [1])), "one line"),
        (themes(("t", [])), "has no criteria"),
        (themes(("t", [1]), ("t", [2])), "'t' stands there twice"),
        (themes(("t", [1]), (" t ", [2])), "'t' stands there twice"),
        (themes(("t", [0])), "0 is no number"),
        (themes(("t", [4])), "4 is no number of a criterion: there are 1 to 3"),
        (themes(("t", [-1])), "-1 is no number"),
        (themes(("t", [True])), "True is no number"),
        (themes(("t", [1.0])), "1.0 is no number"),
        (themes(("t", ["1"])), "'1' is no number"),
        (themes(("t", [None])), "None is no number"),
        (themes(("t", [[1]])), "is no number"),
        (themes(("t", [1, 1])), "criterion 1 stands there twice"),
        (themes(("t", [1, 2]), ("u", [2])), "criterion 2 stands there twice"),
    ],
)
def test_malformed_structures_say_why(text: str, why: str) -> None:
    with pytest.raises(RubricError, match=why):
        parse_structure(text, CRITERIA)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["criteria", "themes", "theme", "name", "question", "weight"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(JUNK | st.text())
def test_any_reply_is_a_rubric_or_a_rubric_error(junk: object) -> None:
    text = junk if isinstance(junk, str) else json.dumps(junk)
    for parse in (lambda: parse_rubric(text, {}).criteria, lambda: parse_structure(text, CRITERIA)):
        with contextlib.suppress(RubricError):
            assert all(isinstance(c, Criterion) for c in parse())
