"""Wordings, their meaning, and the way back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arr_rpo.shapes.world.questions import Question, cell_of, parse, questions_of
from arr_rpo.shapes.world.scene import Thing
from arr_rpo.shapes.world.vocabulary import COLOURS, NUMBERS, RELATIONS, SHAPES

shapes = st.sampled_from(SHAPES)
colors = st.none() | st.sampled_from(list(COLOURS))
counts = st.sampled_from(list(NUMBERS))
relations = st.sampled_from(RELATIONS)
cells = st.integers(0, 3)
QUESTIONS = st.one_of(
    st.builds(Question, st.just("existence"), shapes, colors),
    st.builds(Question, st.just("counting"), shapes, colors, counts),
    st.builds(Question, st.just("position"), shapes, colors, st.just(1), relations, shapes, colors),
    st.builds(Question, st.just("total"), count=counts),
    st.builds(Question, st.just("place"), shapes, colors, cell=cells),
    st.builds(Question, st.just("empty"), cell=cells),
)

RED_CIRCLE = Thing("red", "circle", 8.0, 8.0, 5.5)
RED_CIRCLE_2 = Thing("red", "circle", 24.0, 9.0, 5.5)
BLUE_STAR = Thing("blue", "star", 24.0, 24.0, 5.5)
THINGS = (RED_CIRCLE, RED_CIRCLE_2, BLUE_STAR)


@settings(max_examples=300, deadline=None)
@given(QUESTIONS)
def test_a_wording_is_parsed_back(question: Question) -> None:
    assert parse(str(question)) == question


@settings(max_examples=300, deadline=None)
@given(QUESTIONS, QUESTIONS)
def test_different_questions_have_different_wordings(a: Question, b: Question) -> None:
    assert (str(a) == str(b)) == (a == b)


@pytest.mark.parametrize(
    ("question", "wording"),
    [
        (Question("existence", "circle"), "is there a circle?"),
        (Question("existence", "star", "red"), "is there a red star?"),
        (Question("counting", "square", "blue", 3), "are there exactly three blue squares?"),
        (
            Question("position", "star", "red", 1, "left of", "square", "green"),
            "is the red star left of the green square?",
        ),
        (Question("total", count=1), "is there exactly one object in total?"),
        (Question("total", count=4), "are there exactly four objects in total?"),
        (Question("place", "star", "red", cell=1), "is there a red star upper right?"),
        (Question("place", "star", cell=2), "is there a star lower left?"),
        (Question("empty", cell=3), "is there nothing lower right?"),
    ],
)
def test_wordings(question: Question, wording: str) -> None:
    assert str(question) == wording
    assert parse(f" {wording}\n") == question


@pytest.mark.parametrize(
    "text",
    [
        "",
        "is the picture nice?",
        "is there a pink circle?",
        "is there a red circle",
        "are there exactly five red circles?",
        "is the red star beside the blue square?",
        "is there a red circle? is there a star?",
        "are there exactly one object in total?",
        "is there exactly two objects in total?",
        "is there a red circle upper?",
        "is there a red circle in the upper left?",
        "is there nothing?",
    ],
)
def test_unknown_wordings_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse(text)


@pytest.mark.parametrize(
    ("wording", "truth"),
    [
        ("is there a red circle?", True),
        ("is there a circle?", True),
        ("is there a blue circle?", False),
        ("is there a red star?", False),
        ("are there exactly two red circles?", True),
        ("are there exactly one red circles?", False),
        ("are there exactly three circles?", False),
        ("are there exactly one blue stars?", True),
        ("is the red circle left of the blue star?", True),  # the first of the two is
        ("is the red circle above the blue star?", True),
        ("is the red circle right of the blue star?", False),
        ("is the blue star below the circle?", True),
        ("is the red circle left of the red circle?", True),
        ("is the red circle above the red circle?", False),  # by one pixel only
        ("is the blue square left of the blue star?", False),
        ("are there exactly three objects in total?", True),
        ("are there exactly two objects in total?", False),
        ("is there a red circle upper left?", True),
        ("is there a red circle upper right?", True),
        ("is there a red circle lower left?", False),
        ("is there a circle lower right?", False),
        ("is there a star lower right?", True),
        ("is there nothing lower left?", True),
        ("is there nothing upper left?", False),
    ],
)
def test_answers(wording: str, truth: bool) -> None:
    assert parse(wording).answer(THINGS) is truth


@pytest.mark.parametrize(("gap", "truth"), [(6.0, False), (6.5, True), (-6.5, False)])
def test_position_needs_a_margin_of_six_pixels(gap: float, truth: bool) -> None:
    a, b = Thing("red", "circle", 10.0, 10.0, 5.0), Thing("blue", "star", 10.0 + gap, 10.0, 5.0)
    assert parse("is the red circle left of the blue star?").answer((a, b)) is truth
    assert parse("is the blue star right of the red circle?").answer((a, b)) is truth


def test_a_cell_begins_where_another_ends() -> None:
    """In the middle, at 16 pixels, a centre belongs to the left and the upper cell."""
    at = [cell_of(Thing("red", "circle", x, y, 5.5)) for y in (16.0, 16.1) for x in (16.0, 16.1)]
    assert at == [0, 1, 2, 3]


def test_an_empty_picture_answers_no() -> None:
    assert not any(parse(q).answer(()) for q in ("is there a star?", "is the star above the star?"))


def test_questions_of_position() -> None:
    include = [
        {"class": "square", "count": 1, "color": "blue"},
        {"class": "circle", "count": 1, "color": "red", "position": ["above", 0]},
    ]
    assert [str(q) for q in questions_of({"tag": "position", "include": include})] == [
        "is there a blue square?",
        "is there a red circle?",
        "is the red circle above the blue square?",
        "are there exactly two objects in total?",
    ]


def test_questions_of_counting() -> None:
    metadata = {"tag": "counting", "include": [{"class": "star", "count": 3, "color": "green"}]}
    assert [str(q) for q in questions_of(metadata)] == [
        "are there exactly three green stars?",
        "are there exactly three objects in total?",
    ]


def test_questions_of_a_single_object() -> None:
    metadata = {"tag": "single_object", "include": [{"class": "star", "count": 1}]}
    assert [str(q) for q in questions_of(metadata)] == ["is there a star?", "is there exactly one object in total?"]
