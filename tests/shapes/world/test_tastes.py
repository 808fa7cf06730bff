"""Tastes: their wordings, their truth, and which prompts leave them open."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from arr_rpo.shapes.oracles.detection import detect
from arr_rpo.shapes.world.asked import truth_of
from arr_rpo.shapes.world.general import theme_of
from arr_rpo.shapes.world.prompts import Metadata
from arr_rpo.shapes.world.scene import draw, place
from arr_rpo.shapes.world.tastes import TASTES, leaves_open, taste
from arr_rpo.shapes.world.vocabulary import CELLS, UNSEEN

UPPER_LEFT, UPPER_RIGHT, LOWER_LEFT, LOWER_RIGHT = range(4)
RED_CIRCLE = [("red", "circle", UPPER_LEFT)]
MIXED = [("red", "circle", UPPER_LEFT), ("blue", "square", LOWER_RIGHT)]
ALIKE = [("red", "circle", UPPER_LEFT), ("red", "square", UPPER_RIGHT)]
TWO_CIRCLES = [("red", "circle", LOWER_LEFT), ("blue", "circle", UPPER_LEFT)]
NOTHING: list[tuple[str, str, int]] = []


def met(question: str, things: Sequence[tuple[str, str, int]]) -> bool:
    """As the oracle sees it on the drawn picture."""
    scene = place([(c, s) for c, s, _ in things], [cell for *_, cell in things], np.random.default_rng(0))
    return taste(question).truth(detect(draw(scene)))


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [
        ("is there something red?", [MIXED, RED_CIRCLE], [NOTHING, [("blue", "star", 2)]]),
        ("is there nothing blue?", [RED_CIRCLE, ALIKE], [MIXED, NOTHING]),
        ("is there something red upper left?", [MIXED, ALIKE], [TWO_CIRCLES, NOTHING]),
        ("is every circle red?", [RED_CIRCLE, MIXED], [TWO_CIRCLES, NOTHING, [("red", "square", 0)]]),
        ("is every object in the upper row?", [RED_CIRCLE, ALIKE], [MIXED, NOTHING]),
        ("is every object in the left column?", [RED_CIRCLE, TWO_CIRCLES], [ALIKE, MIXED]),
        ("do all objects stand in one row?", [ALIKE], [RED_CIRCLE, MIXED, TWO_CIRCLES, NOTHING]),
        ("do all objects stand in one column?", [TWO_CIRCLES], [ALIKE, MIXED]),
        ("do all objects stand on one diagonal?", [MIXED], [ALIKE, TWO_CIRCLES, RED_CIRCLE]),
        ("do all objects have one color?", [ALIKE], [MIXED, RED_CIRCLE, NOTHING]),
        ("do all objects have different colors?", [MIXED, TWO_CIRCLES], [ALIKE, RED_CIRCLE]),
        ("is there a circle upper left?", [MIXED, TWO_CIRCLES], [[("red", "circle", 1)]]),
        ("is the circle left of the square?", [ALIKE, MIXED], [[("red", "circle", 1), ("red", "square", 0)]]),
        ("is there nothing upper left?", [[("red", "circle", 1)], NOTHING], [MIXED]),
    ],
)
def test_truth(question: str, yes: list[list[tuple[str, str, int]]], no: list[list[tuple[str, str, int]]]) -> None:
    assert all(met(question, things) for things in yes)
    assert not any(met(question, things) for things in no)


def test_attributes() -> None:
    expected = {
        "is there something red?": {"red"},
        "is there something red upper left?": {"red", "upper left"},
        "is every circle red?": {"circle", "red"},
        "do all objects stand in one row?": {"in one row"},
        "is there a star lower left?": {"star", "lower left"},
        "is the circle left of the square?": {"circle", "left of", "square"},
        "is there nothing upper left?": {"nothing", "upper left"},
    }
    assert {question: set(taste(question).attributes) for question in expected} == expected
    assert all(taste(question).question == question for question in expected)


def test_no_taste_is_of_a_combination_that_nothing_was_trained_on() -> None:
    for one in TASTES.values():
        assert not any({color, shape} <= one.attributes for color, shape in UNSEEN), one.question


@pytest.mark.parametrize("question", ["is there a red circle?", "is it pretty?", "is there a red circle upper left?"])
def test_what_is_no_taste(question: str) -> None:
    with pytest.raises(ValueError, match=r"question"):
        taste(question)


def test_the_oracle_knows_tastes() -> None:
    things = detect(draw(place([("red", "circle")], [0], np.random.default_rng(0))))
    metadata = {"tag": "single_object", "include": [{"class": "circle", "count": 1}]}
    assert truth_of("is there something red?", metadata)(things) is True
    assert truth_of("is every circle blue?", metadata)(things) is False
    themes = {theme_of(question) for question in TASTES}
    assert themes == {"colors", "positions"}


def prompt(tag: str, *include: Metadata) -> Metadata:
    return {"tag": tag, "include": list(include)}


def thing(shape: str, color: str | None = None, count: int = 1, **more: object) -> Metadata:
    return {"class": shape, "count": count, **({"color": color} if color else {}), **more}


@pytest.mark.parametrize(
    ("question", "open_in", "closed_in"),
    [
        ("is every circle red?", [prompt("single_object", thing("circle"))], [prompt("colors", thing("circle", "red"))]),
        (
            "is there something red?",
            [prompt("x", thing("circle", "blue"), thing("star"))],
            [prompt("x", thing("star", "blue"))],
        ),
        ("is there a star lower left?", [prompt("x", thing("star", "blue"))], [prompt("x", thing("circle"))]),
        ("do all objects have one color?", [prompt("x", thing("star"), thing("circle"))], [prompt("x", thing("star"))]),
        (
            "do all objects stand in one row?",
            [prompt("x", thing("star"), thing("circle")), prompt("x", thing("star", count=2))],
            [prompt("x", thing("star", count=3)), prompt("x", thing("star"), thing("circle", position=["above", 0]))],
        ),
        (  # a star right of the circle may stand above it, but not in its column
            "is the star above the circle?",
            [prompt("x", thing("circle"), thing("star", position=["right of", 0]))],
            [prompt("x", thing("circle"), thing("star", position=["below", 0]))],
        ),
        # A purple star is no picture that follows a prompt: nothing that is trained ever sees one.
        ("is there something purple?", [prompt("x", thing("circle"))], [prompt("x", thing("star"))]),
    ],
)
def test_what_prompts_leave_open(question: str, open_in: list[Metadata], closed_in: list[Metadata]) -> None:
    assert all(leaves_open(metadata, question) for metadata in open_in)
    assert not any(leaves_open(metadata, question) for metadata in closed_in)


def test_pictures_that_follow_a_prompt_are_all_of_them() -> None:
    """One circle: four cells, five colours. Of each cell and colour some picture has it."""
    circle = prompt("single_object", thing("circle"))
    colors = ("red", "green", "blue", "yellow", "purple")
    assert all(leaves_open(circle, f"is there something {c} {cell}?") for c, cell in itertools.product(colors, CELLS))
