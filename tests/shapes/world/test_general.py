"""General criteria and critiques of the shapes world, on scenes whose faults are known."""

from __future__ import annotations

from typing import Any

import pytest

from arr_rpo.shapes.world.general import DIMENSIONS, GENERAL, NAMES, answer, critique_text, dimension_grades, theme_of
from arr_rpo.shapes.world.questions import questions_of
from arr_rpo.shapes.world.scene import Thing


def thing(color: str, shape: str, x: float, y: float) -> Thing:
    return Thing(color, shape, x, y, 5.5)


def position() -> dict[str, Any]:
    """A red circle left of a blue square, as GenEval has it: the reference first."""
    placed = {"class": "circle", "count": 1, "color": "red", "position": ["left of", 0]}
    return {"tag": "position", "include": [{"class": "square", "count": 1, "color": "blue"}, placed]}


COUNTING = {"tag": "counting", "include": [{"class": "star", "count": 2}]}
RIGHT = (thing("red", "circle", 8, 8), thing("blue", "square", 24, 8))
SWAPPED = (thing("red", "circle", 24, 8), thing("blue", "square", 8, 8))
RECOLOURED = (thing("green", "circle", 8, 8), thing("blue", "square", 24, 8))
WITH_STAR = (*RIGHT, thing("yellow", "star", 8, 24))
TWO_CIRCLES = (*RIGHT, thing("red", "circle", 8, 24))


def held(things: tuple[Thing, ...], metadata: dict[str, Any]) -> set[str]:
    return {name for name in GENERAL if answer(name, things, metadata)}


@pytest.mark.parametrize(
    ("things", "faults"),
    [
        (RIGHT, set()),
        (SWAPPED, {"positions", "overall"}),
        (RECOLOURED, {"colors", "overall"}),
        (WITH_STAR, {"extras", "overall"}),
        (TWO_CIRCLES, {"numbers", "overall"}),
        (RIGHT[:1], {"objects", "colors", "numbers", "positions", "overall"}),
        ((), {"objects", "colors", "numbers", "positions", "overall"}),
    ],
)
def test_each_fault_is_one_of_its_kind(things: tuple[Thing, ...], faults: set[str]) -> None:
    assert set(GENERAL) - held(things, position()) == faults


def test_what_a_prompt_does_not_say_holds_always() -> None:
    stars = (thing("red", "star", 8, 8), thing("blue", "star", 24, 8))
    assert held(stars, COUNTING) == set(GENERAL)
    assert held(stars[:1], COUNTING) == {"objects", "colors", "positions", "extras"}


@pytest.mark.parametrize("things", [RIGHT, SWAPPED, RECOLOURED, WITH_STAR, TWO_CIRCLES, ()])
def test_overall_is_the_strict_measure(things: tuple[Thing, ...]) -> None:
    strict = all(question.answer(things) for question in questions_of(position()))
    assert answer("overall", things, position()) == strict


def test_a_critique_names_what_is_wrong() -> None:
    assert (
        critique_text(RIGHT, position()) == "objects: right. colors: right. numbers: right. positions: right. extras: nothing."
    )
    assert critique_text(WITH_STAR, position()).endswith("positions: right. extras: a yellow star.")
    faults = "objects: no square. colors: no blue square and no red circle. numbers: zero squares. positions: wrong."
    assert critique_text(RECOLOURED[:1], position()) == f"{faults} extras: nothing."
    assert critique_text((), COUNTING) == "objects: no star. colors: NA. numbers: zero stars. positions: NA. extras: nothing."


def test_dimensions_are_graded_from_one_to_four() -> None:
    assert dimension_grades(RIGHT, position()) == {**dict.fromkeys(DIMENSIONS, "4"), "overall": "4"}
    # Half of two objects is 1 + 3 / 2 = 2.5, rounded to the even 2; of four criteria, existence of the circle alone holds.
    assert dimension_grades(RIGHT[:1], position()) == {
        "objects": "2", "colors": "2", "numbers": "2", "positions": "1", "extras": "4", "overall": "2",
    }  # fmt: skip
    graded = dimension_grades((thing("red", "circle", 8, 8),) * 2, COUNTING)
    assert graded == {"objects": "1", "colors": "NA", "numbers": "1", "positions": "NA", "extras": "2", "overall": "2"}


def test_every_question_of_the_world_has_a_theme() -> None:
    assert [theme_of(question) for question in GENERAL.values()] == [
        "content", "colors", "numbers", "positions", "content", "content",
    ]  # fmt: skip
    assert [theme_of(str(question)) for question in questions_of(position())] == ["content", "content", "positions", "numbers"]
    assert {name: question for question, name in NAMES.items()} == GENERAL
    with pytest.raises(ValueError, match="not a question"):
        theme_of("is it beautiful?")
