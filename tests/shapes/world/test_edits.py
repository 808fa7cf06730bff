"""Edits: their words, their rubric, what comes of them, and the splits."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from arr_rpo.shapes.world.edits import (
    KINDS,
    OUTCOMES,
    Edit,
    content,
    edit_questions,
    from_metadata,
    instruction,
    mistaken_edit,
    own_questions,
    random_edit,
    splits,
    target,
    to_metadata,
)
from arr_rpo.shapes.world.prompts import FOLDER, write_files
from arr_rpo.shapes.world.questions import cell_of
from arr_rpo.shapes.world.scene import Scene, Thing
from arr_rpo.shapes.world.vocabulary import UNSEEN

CIRCLE = Thing("red", "circle", 8.5, 7.25, 5.5)  # upper left
SQUARE = Thing("green", "square", 24.0, 24.0, 6.0)  # lower right
STAR = Thing("blue", "star", 24.5, 8.0, 5.0)  # upper right
SOURCE: Scene = (SQUARE, CIRCLE, STAR)
EDITS = {
    "recolour": Edit("recolour", "red", "circle", 0, "blue", "circle", 0),
    "replace": Edit("replace", "red", "circle", 0, "purple", "triangle", 0),
    "add": Edit("add", "", "", 2, "yellow", "star", 2),
    "remove": Edit("remove", "red", "circle", 0, "", "", 0),
    "move": Edit("move", "red", "circle", 0, "red", "circle", 2),
}
STAY = ["is there a blue star upper right?", "is there a green square lower right?"]


def drawn(count: int, seed: int) -> list[tuple[Scene, Edit, np.random.Generator]]:
    rng = np.random.default_rng(seed)
    return [(*random_edit(rng), rng) for _ in range(count)]


def holds(scene: Scene, source: Scene, edit: Edit, name: str | None = None) -> bool:
    return all(question.answer(scene) for n, question in edit_questions(edit, source) if name in (None, n))


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("recolour", ["make the red circle blue", "change the color of the red circle to blue", "turn the red circle blue"]),
        (
            "replace",
            [
                "replace the red circle with a purple triangle",
                "change the red circle into a purple triangle",
                "swap the red circle for a purple triangle",
            ],
        ),
        ("add", ["add a yellow star lower left", "put a yellow star lower left", "draw a yellow star lower left"]),
        ("remove", ["remove the red circle", "delete the red circle", "erase the red circle"]),
        ("move", ["move the red circle lower left", "shift the red circle lower left", "bring the red circle lower left"]),
    ],
)
def test_instructions(kind: str, texts: list[str]) -> None:
    assert [instruction(EDITS[kind], phrasing) for phrasing in range(3)] == texts


@pytest.mark.parametrize(
    ("kind", "made", "kept"),
    [
        ("recolour", ["is there a blue circle upper left?"], [*STAY, "are there exactly three objects in total?"]),
        ("replace", ["is there a purple triangle upper left?"], [*STAY, "are there exactly three objects in total?"]),
        (
            "add",
            ["is there a yellow star lower left?"],
            ["is there a red circle upper left?", *STAY, "are there exactly four objects in total?"],
        ),
        ("remove", ["is there nothing upper left?"], [*STAY, "are there exactly two objects in total?"]),
        (
            "move",
            ["is there a red circle lower left?", "is there nothing upper left?"],
            [*STAY, "are there exactly three objects in total?"],
        ),
    ],
)
def test_the_rubric_of_an_edit(kind: str, made: list[str], kept: list[str]) -> None:
    expected = [("instruction", text) for text in made] + [("preservation", text) for text in kept]
    assert [(name, str(question)) for name, question in edit_questions(EDITS[kind], SOURCE)] == expected
    assert own_questions(to_metadata(SOURCE, EDITS[kind])) == edit_questions(EDITS[kind], SOURCE)


def test_own_questions_of_a_picture_are_named_by_their_kind() -> None:
    asked = own_questions({"tag": "single_object", "include": [{"class": "star", "count": 1}]})
    assert [(name, str(q)) for name, q in asked] == [
        ("existence", "is there a star?"),
        ("total", "is there exactly one object in total?"),
    ]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("recolour", Thing("blue", "circle", 8.5, 7.25, 5.5)),
        ("replace", Thing("purple", "triangle", 8.5, 7.25, 5.5)),
        ("remove", None),
        ("move", Thing("red", "circle", 8.5, 23.25, 5.5)),  # 16 pixels down
    ],
)
def test_the_exact_result(kind: str, result: Thing | None) -> None:
    scene = target(SOURCE, EDITS[kind], np.random.default_rng(0))
    assert set(scene) == {SQUARE, STAR, *([result] if result else [])}


def test_what_is_added_stands_in_its_cell() -> None:
    *before, added = target(SOURCE, EDITS["add"], np.random.default_rng(0))
    assert tuple(before) == SOURCE
    assert (added.color, added.shape, cell_of(added)) == ("yellow", "star", 2)


def test_random_edits_are_sound() -> None:
    for source, edit, rng in drawn(3_000, 1):
        scene = target(source, edit, rng)
        kinds, after = ({(t.color, t.shape) for t in some} for some in (source, scene))
        assert (2 if edit.kind == "remove" else 1) <= len(source) <= 3
        assert len(kinds) == len(source) == len(set(map(cell_of, source)))
        assert len(after) == len(scene) == len(set(map(cell_of, scene)))  # "the red circle" is one after the edit, too
        assert not (kinds | after) & UNSEEN
        assert holds(scene, source, edit)
        assert not holds(source, source, edit, "instruction")
        assert sum(edit.changes(thing) for thing in source) == (edit.kind != "add")


def test_kinds_and_places_are_drawn_evenly() -> None:
    cases = drawn(5_000, 2)
    by_kind, by_cell = Counter(edit.kind for _, edit, _ in cases), Counter(edit.to_cell for _, edit, _ in cases)
    assert {kind: by_kind[kind] / 5_000 for kind in KINDS} == pytest.approx(dict.fromkeys(KINDS, 0.2), abs=0.025)
    assert {cell: by_cell[cell] / 5_000 for cell in range(4)} == pytest.approx(dict.fromkeys(range(4), 0.25), abs=0.025)
    first = [edit.changes(source[0]) for source, edit, _ in cases if edit.kind == "move" and len(source) == 2]
    assert len(first) > 200
    assert 0.4 < sum(first) / len(first) < 0.6  # the thing to edit is not always the first


def test_mistakes_have_their_shares() -> None:
    assert sum(OUTCOMES.values()) == pytest.approx(1)
    cases = [(source, edit, mistaken_edit(source, edit, rng)) for source, edit, rng in drawn(6_000, 3)]
    share = lambda met: sum(met) / len(cases)  # noqa: E731
    assert share(m == s for s, _, m in cases) == pytest.approx(OUTCOMES["unchanged"], abs=0.02)
    right = OUTCOMES["right"] + OUTCOMES["jittered"]
    assert share(holds(m, s, e) for s, e, m in cases) == pytest.approx(right, abs=0.02)
    made = share(holds(m, s, e, "instruction") for s, e, m in cases)
    kept = share(holds(m, s, e, "preservation") for s, e, m in cases)
    assert 0.45 < made < 0.65  # each sort of criterion fails about as often as not, and not always with the other
    assert 0.45 < kept < 0.7
    assert share(holds(m, s, e, "instruction") and not holds(m, s, e, "preservation") for s, e, m in cases) > 0.12
    assert share(holds(m, s, e, "preservation") and not holds(m, s, e, "instruction") for s, e, m in cases) > 0.12


def test_mistakes_stay_in_the_world() -> None:
    for source, edit, rng in drawn(3_000, 4):
        scene = mistaken_edit(source, edit, rng)
        assert len(set(map(cell_of, scene))) == len(scene) <= 4
        assert not {(t.color, t.shape) for t in scene} & UNSEEN


def test_metadata_and_back() -> None:
    metadata = to_metadata(SOURCE, EDITS["move"])
    assert metadata["tag"] == "move"
    assert metadata["scene"][1] == {"class": "circle", "color": "red", "x": 8.5, "y": 7.25, "radius": 5.5}
    for source, edit, _ in drawn(200, 5):
        assert from_metadata(json.loads(json.dumps(to_metadata(source, edit)))) == (source, edit)


# -- splits ----------------------------------------------------------------------------------------------------------------

SPLITS = splits()
SIZES = {"train": 960, "heldout": 500, "unseen": 150}


def test_splits_are_of_their_sizes_in_all_kinds_and_phrasings() -> None:
    assert {name: len(rows) for name, rows in SPLITS.items()} == SIZES
    for name, rows in SPLITS.items():
        assert Counter(row["tag"] for row in rows) == dict.fromkeys(KINDS, SIZES[name] // 5)
        words = Counter(row["prompt"].split()[0] for row in rows if row["tag"] == "remove")
        assert set(words) == {"remove", "delete", "erase"}
    assert max(len(row["prompt"].split()) for rows in SPLITS.values() for row in rows) <= 11


def test_no_content_is_in_two_splits() -> None:
    contents = [content(*from_metadata(row)) for rows in SPLITS.values() for row in rows]
    assert len(contents) == len(set(contents)) == sum(SIZES.values())


def test_unseen_combinations_are_in_their_split_alone() -> None:
    for name, rows in SPLITS.items():
        for source, edit in map(from_metadata, rows):
            told = {(edit.color, edit.shape), (edit.to_color, edit.to_shape)}
            assert bool(told & UNSEEN) == (name == "unseen")
            assert name == "unseen" or not {(t.color, t.shape) for t in source} & UNSEEN


def test_the_files_are_those_that_ship(tmp_path: Path) -> None:
    write_files({f"edit_{name}": rows for name, rows in SPLITS.items()}, tmp_path)
    for name in SIZES:
        assert (tmp_path / f"edit_{name}.jsonl").read_bytes() == (FOLDER / f"edit_{name}.jsonl").read_bytes()
    assert {row["prompt"] for row in splits(1)["heldout"]} != {row["prompt"] for row in SPLITS["heldout"]}
