"""Pairs of the shapes world: labelled by what is in them, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL.Image import Image

from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.oracles.detection import detect
from arr_rpo.shapes.oracles.preferences import ShapesPreferences, label
from arr_rpo.shapes.world.edits import edit_questions, from_metadata
from arr_rpo.shapes.world.scene import draw, place
from arr_rpo.types import Outcome, Prompt, UserError

RED_CIRCLE = Prompt(
    "p", "a photo of a red circle", {"tag": "colors", "include": [{"class": "circle", "color": "red", "count": 1}]}
)


def picture(*kinds: tuple[str, str]) -> Image:
    return draw(place(kinds, range(len(kinds)), np.random.default_rng(0)))


def shapes(**changes: object) -> ShapesPreferences:
    arguments = {"split": "shapes/unseen", "pairs_per_prompt": 2, "seed": 3, "ties": "keep", "policy": None, **changes}
    return ShapesPreferences(**arguments)  # type: ignore[arg-type]


def test_the_image_that_meets_more_questions_is_better() -> None:
    """Two questions: is there a red circle; is there exactly one object in total."""
    right, crowded = picture(("red", "circle")), picture(("red", "circle"), ("blue", "square"))
    wrong = picture(("blue", "square"))
    assert label(RED_CIRCLE, right, crowded) is Outcome.A  # 2 to 1
    assert label(RED_CIRCLE, wrong, right) is Outcome.B  # 1 to 2
    assert label(RED_CIRCLE, crowded, wrong) is Outcome.TIE  # 1 to 1, of different questions


def test_truth_of_criteria() -> None:
    right, wrong = picture(("red", "circle")), picture(("blue", "square"))
    for question in ("is there a red circle?", "is every object of the prompt there?"):
        assert ShapesPreferences.truth(RED_CIRCLE, question, right) is True
        assert ShapesPreferences.truth(RED_CIRCLE, question, wrong) is False
    assert ShapesPreferences.truth(RED_CIRCLE, "is it pretty?", right) is None


def test_pairs_of_a_split() -> None:
    pairs = shapes()
    prompts = read_prompts("shapes/unseen")
    assert len(pairs) == 2 * len(prompts) == len(set(pairs.ids))
    first = pairs[0]
    assert (first.id, first.prompt, first.subset) == (f"{prompts[0].id}/0", prompts[0], prompts[0].metadata["tag"])
    some = list(pairs.open(range(60)))
    assert {p.better for p in some} == {Outcome.A, Outcome.B, Outcome.TIE}
    assert [p.id for p in some] == list(pairs.ids[:60])
    for pair in some:
        assert pair.better is label(pair.prompt, pair.a, pair.b)


def test_the_seed_decides() -> None:
    one, again, other = shapes()[5], shapes()[5], shapes(seed=4)[5]
    assert one.a.tobytes() == again.a.tobytes()
    assert (one.a.tobytes(), one.b.tobytes()) != (other.a.tobytes(), other.b.tobytes())
    assert shapes(pairs_per_prompt=1)[3].a.tobytes() == shapes()[6].a.tobytes()  # prompt 3, pair 0


def test_dropped_ties_are_drawn_again() -> None:
    pairs = shapes(ties="drop")
    assert len(pairs) == len(shapes())
    assert all(p.better in (Outcome.A, Outcome.B) for p in pairs.open(range(60)))


def test_pairs_of_one_prompt() -> None:
    pairs = ShapesPreferences.for_prompt(RED_CIRCLE, 20, seed=1)
    assert len(pairs) == 20 == len({p.id for p in pairs})
    assert all(p.better is label(RED_CIRCLE, p.a, p.b) is not Outcome.TIE for p in pairs)
    assert [p.a.tobytes() for p in pairs[:3]] == [p.a.tobytes() for p in ShapesPreferences.for_prompt(RED_CIRCLE, 3, seed=1)]
    with pytest.raises(UserError, match="no prompt or edit of the shapes world"):
        ShapesPreferences.for_prompt(Prompt("x", "a cat"), 1, seed=1)


def test_pairs_of_edits() -> None:
    pairs = shapes(split="shapes/edit_unseen", pairs_per_prompt=1, ties="drop")
    some = list(pairs.open(range(40)))
    assert {p.subset for p in some} == {"recolour", "replace", "add", "remove", "move"}
    for pair in some:
        source, edit = from_metadata(pair.prompt.metadata)
        assert pair.prompt.source is not None
        assert pair.prompt.source.tobytes() == draw(source).tobytes()
        better, worse = (pair.a, pair.b) if pair.better is Outcome.A else (pair.b, pair.a)
        met = [[q.answer(detect(image)) for _, q in edit_questions(edit, source)] for image in (better, worse)]
        assert sum(met[0]) > sum(met[1])
    unchanged = ShapesPreferences.truth(pair.prompt, "is the edit made as told?", pair.prompt.source)
    assert unchanged is False
    assert ShapesPreferences.truth(pair.prompt, "is every other object still there?", pair.prompt.source) is True
    assert ShapesPreferences.truth(pair.prompt, "is every object of the prompt there?", pair.prompt.source) is None


class Painter:
    """Paints what is right on one side, and on the other for every second row."""

    def generate(self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[int | str, ...]]) -> list[Image]:
        right, wrong = picture(("red", "circle")), picture(("blue", "square"))
        return [right if key[-1] == "a" or row % 2 else wrong for row, key in enumerate(keys)]


def test_pairs_that_a_policy_makes(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    row = '{"tag": "colors", "prompt": "a red circle", "include": [{"class": "circle", "color": "red", "count": 1}]}\n'
    path.write_text(2 * row, encoding="utf-8")
    kept = shapes(split=str(path), policy=Painter())
    assert [p.better for p in kept] == [Outcome.A, Outcome.TIE, Outcome.A, Outcome.TIE]
    dropped = shapes(split=str(path), policy=Painter(), ties="drop")
    assert (list(dropped.ids), dropped.left_out) == (["prompts/1/0", "prompts/2/0"], {"tie": 2})
    assert [p.better for p in dropped] == [Outcome.A, Outcome.A]
