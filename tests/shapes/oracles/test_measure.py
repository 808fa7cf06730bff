"""The oracle as a measure of held-out pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL.Image import Image

from arr_rpo.measure.base import Taken
from arr_rpo.shapes.annotators.measure import AnnotatorOracle
from arr_rpo.shapes.oracles.measure import ShapesOracle, judged
from arr_rpo.shapes.world.edits import random_edit, target, to_metadata
from arr_rpo.shapes.world.scene import Thing, draw
from arr_rpo.types import Prompt

CIRCLE, STAR = Thing("red", "circle", 8.5, 8.5, 5.5), Thing("blue", "star", 23.5, 23.5, 5.5)


def asking_for(tag: str, *objects: tuple[str, str]) -> Prompt:
    include = [{"class": shape, "color": color, "count": 1} for color, shape in objects]
    return Prompt(tag, tag, {"tag": tag, "include": include})


def drawn(*things: Thing) -> Image:
    return draw(things)


def test_figures_by_hand() -> None:
    prompts = [asking_for("one", ("red", "circle")), asking_for("two", ("red", "circle"), ("blue", "star"))]
    values = ShapesOracle().values(prompts, [drawn(CIRCLE), drawn(CIRCLE)], None)
    found = Taken(dict(zip(("one", "two"), values, strict=True)), {"one": "one", "two": "two"})
    # The second lacks the star: of its three criteria (two objects, two in total) one is met.
    assert (found.mean, found.by_tag, found.missing) == (0.5, {"one": 1.0, "two": 0.0}, 0)
    assert [value.figures["criteria"] for value in values] == [1.0, pytest.approx(1 / 3)]
    assert found.figures == {"criteria": pytest.approx(2 / 3), "existence": 0.75, "total": 0.5}  # means over prompts


def test_an_edit_has_two_parts() -> None:
    rng = np.random.default_rng(3)
    source, edit = random_edit(rng)
    prompt = Prompt("e", "edit", to_metadata(source, edit), source=draw(source))
    right = judged(prompt, draw(target(source, edit, rng)))
    assert (right.value, right.figures) == (1.0, {"criteria": 1.0, "instruction": 1.0, "preservation": 1.0})
    nothing = judged(prompt, draw(source))
    assert (nothing.value, nothing.figures) == (0.0, {"criteria": 0.5, "instruction": 0.0, "preservation": 1.0})


@pytest.mark.parametrize("metadata", [{}, {"tag": "single_object", "include": [{"class": "bench", "count": 1}]}])
def test_a_prompt_of_another_world_is_named(metadata: dict[str, Any]) -> None:
    """GenEval's own prompts have metadata of the same form; a bench that nobody can find is no failure of the policy."""
    prompt = Prompt("p/1", "a bench", metadata)
    assert "prompt p/1 ('a bench') is not of the shapes world" in ShapesOracle().why_not([prompt])


def test_what_a_picture_is_worth_to_an_annotator() -> None:
    """Ada likes something red: of "a circle" that is open, and of "a red circle" it is not."""
    measure = AnnotatorOracle(annotator="ada")
    anything = Prompt("p", "a circle", {"tag": "single_object", "include": [{"class": "circle", "count": 1}]})
    blue = drawn(Thing("blue", "circle", 8.5, 8.5, 5.5))
    red, other = measure.values([anything] * 2, [drawn(CIRCLE), blue], None)
    assert (red.value, other.value) == (1.0, pytest.approx(3 / 4))
    assert (red.figures, other.figures["taste"]) == ({"followed": 1.0, "strict": 1.0, "taste": 1.0}, 0.0)
    (said,) = measure.values([asking_for("one", ("red", "circle"))], [drawn(CIRCLE)], None)
    assert said.value == 1.0 and "taste" not in said.figures
    assert measure.criteria == {"is there something red?": 1.0}  # which the report shows, with what each picture meets
    assert (red.met, other.met, said.met) == ({"is there something red?": True}, {"is there something red?": False}, {})
    assert "is an edit" in measure.why_not([Prompt("e", "edit", {}, drawn())])
