"""Edits of a scene: what is changed, how it is told, what must come of it, and what an imperfect editor makes of it.

`python -m arr_rpo.shapes.world.edits` writes the three files of prompts that ship with the package.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL.Image import Image

from arr_rpo.shapes.world.prompts import write_files
from arr_rpo.shapes.world.questions import Located, Question, cell_of, questions_of
from arr_rpo.shapes.world.scene import Scene, Thing, draw, place
from arr_rpo.shapes.world.vocabulary import CELL_SIZE, CELLS, COLOURS, SEEN, SHAPES, UNSEEN

INSTRUCTION, PRESERVATION = "instruction", "preservation"  # the names of the two sorts of criteria
PHRASINGS: Final[dict[str, tuple[str, str, str]]] = {
    "recolour": ("make the {old} {color}", "change the color of the {old} to {color}", "turn the {old} {color}"),
    "replace": ("replace the {old} with a {new}", "change the {old} into a {new}", "swap the {old} for a {new}"),
    "add": ("add a {new} {cell}", "put a {new} {cell}", "draw a {new} {cell}"),
    "remove": ("remove the {old}", "delete the {old}", "erase the {old}"),
    "move": ("move the {old} {cell}", "shift the {old} {cell}", "bring the {old} {cell}"),
}
KINDS: Final = tuple(PHRASINGS)
SIZES: Final = (0.2, 0.4, 0.4)  # shares of sources with 1, 2 and 3 things: with one there is little to preserve
PROMPTS_A_KIND: Final = {"train": 192, "heldout": 100, "unseen": 30}

# What comes of an edit in `mistaken_edit`, and how often.
OUTCOMES: Final = {
    "right": 0.26,
    "jittered": 0.10,  # right, and the others stand and measure a little differently
    "unchanged": 0.11,
    "wrong": 0.18,  # what is edited gets another colour, shape or cell than told
    "instead": 0.08,  # another thing is changed
    "as well": 0.09,  # another thing is changed too
    "lost": 0.06,
    "extra": 0.07,
    "unrelated": 0.05,
}

Kind = tuple[str, str]  # (color, shape)
Rng = np.random.Generator


@dataclass(frozen=True)
class Edit:
    """What an edit changes, and to what. Cells are indices of `CELLS`; the source has no other thing of that colour and shape.

    All fields are filled: of a recolouring, `to_shape` is `shape` and `to_cell` is `cell`. Only `add` has nothing to change
    (`color` and `shape` are ""), and only `remove` nothing to change it to.
    """

    kind: str
    color: str
    shape: str
    cell: int
    to_color: str
    to_shape: str
    to_cell: int

    def changes(self, thing: Located) -> bool:
        """Whether it is this thing that is edited."""
        return (thing.color, thing.shape, cell_of(thing)) == (self.color, self.shape, self.cell)


def others(edit: Edit, source: Sequence[Located]) -> list[Located]:
    """What is to stay as it is, in reading order of the cells."""
    return sorted((thing for thing in source if not edit.changes(thing)), key=cell_of)


def instruction(edit: Edit, phrasing: int) -> str:
    """The edit in words, in the first, second or third phrasing (0, 1, 2) of its kind."""
    old, new = f"{edit.color} {edit.shape}", f"{edit.to_color} {edit.to_shape}"
    return PHRASINGS[edit.kind][phrasing].format(old=old, new=new, color=edit.to_color, cell=CELLS[edit.to_cell])


def edit_questions(edit: Edit, source: Sequence[Located]) -> list[tuple[str, Question]]:
    """The rubric of an edit: (name, question), whether it was made and whether all else stayed."""
    stay = others(edit, source)
    there = Question("place", edit.to_shape, edit.to_color, cell=edit.to_cell)
    gone = Question("empty", cell=edit.cell)
    made = {"remove": [gone], "move": [there, gone]}.get(edit.kind, [there])
    kept = [Question("place", thing.shape, thing.color, cell=cell_of(thing)) for thing in stay]
    total = Question("total", count=len(stay) + (edit.kind != "remove"))
    return [*((INSTRUCTION, question) for question in made), *((PRESERVATION, question) for question in [*kept, total])]


def own_questions(metadata: Mapping[str, Any]) -> list[tuple[str, Question]]:
    """The criteria that a prompt's metadata implies, of an edit or of a picture, as (name, question): the strict measure.

    Raises:
        KeyError: the metadata is of neither kind.
    """
    if "edit" in metadata:
        source, edit = from_metadata(metadata)
        return edit_questions(edit, source)
    return [(question.kind, question) for question in questions_of(metadata)]


# -- making them -----------------------------------------------------------------------------------------------------------


def random_edit(rng: Rng) -> tuple[Scene, Edit]:
    """A source and an edit of it, each kind equally often, without unseen combinations in the source or in what comes of it."""
    return edit_of(KINDS[int(rng.integers(len(KINDS)))], SEEN, rng)


def edit_of(kind: str, known: Sequence[Kind], rng: Rng) -> tuple[Scene, Edit]:
    """A source of 1 to 3 things, 2 or 3 mostly and for `remove`, and an edit of a kind. Of each `known` combination there is at
    most one before and after."""
    count = int(rng.integers(2, 4) if kind == "remove" else rng.choice((1, 2, 3), p=SIZES))
    kinds = [known[int(i)] for i in rng.permutation(len(known))[:count]]
    cells = [int(cell) for cell in rng.permutation(len(CELLS))]
    taken, free = cells[:count], cells[count]
    source = place(kinds, taken, rng)
    (color, shape), cell, to_cell = kinds[0], taken[0], taken[0]
    new = (color, shape)
    fresh = [k for k in known if k not in kinds]
    if kind == "recolour":
        new = _pick([k for k in fresh if k[1] == shape], rng)
    elif kind == "replace":
        new = _pick([k for k in fresh if k[1] != shape], rng)
    elif kind == "add":
        (color, shape), cell, new, to_cell = ("", ""), free, _pick(fresh, rng), free
    elif kind == "remove":
        new = ("", "")
    else:
        to_cell = free
    mixed = tuple(source[int(i)] for i in rng.permutation(count))  # so that the edited thing does not always come first
    return mixed, Edit(kind, color, shape, cell, *new, to_cell)


def target(source: Scene, edit: Edit, rng: Rng) -> Scene:
    """The exact result. Other things stay as they are, to the pixel; what is edited keeps its size and, unless moved, its
    place; what is moved stands in the new cell as it stood in the old one; what is added is placed at random."""
    if edit.kind == "add":
        return source + place([(edit.to_color, edit.to_shape)], [edit.to_cell], rng)
    return tuple(_edited(t, edit) if edit.changes(t) else t for t in source if edit.kind != "remove" or not edit.changes(t))


def _edited(thing: Thing, edit: Edit) -> Thing:
    return _put(dataclasses.replace(thing, color=edit.to_color, shape=edit.to_shape), edit.to_cell)


def _put(thing: Thing, cell: int) -> Thing:
    """The thing in a cell, standing there as it stands in its own."""
    (row, column), (old_row, old_column) = divmod(cell, 2), divmod(cell_of(thing), 2)
    x, y = thing.x + (column - old_column) * CELL_SIZE, thing.y + (row - old_row) * CELL_SIZE
    return dataclasses.replace(thing, x=x, y=y)


# -- mistakes --------------------------------------------------------------------------------------------------------------


def mistaken_edit(source: Scene, edit: Edit, rng: Rng) -> Scene:
    """What an editor might make of it: right, or wrong in one of the ways of `OUTCOMES`, at those rates.

    A way that the scene leaves no room for becomes "wrong". No unseen combination is made that was not there.
    """
    outcome = str(rng.choice(list(OUTCOMES), p=list(OUTCOMES.values())))
    right = target(source, edit, rng)
    made = tuple(t for t in right if t not in source)  # one thing; nothing where the edit removes one
    rest = tuple(t for t in right if t in source)
    room = {"extra": len(right) < len(CELLS), "instead": rest, "as well": rest}.get(outcome, True)
    ways: dict[str, Callable[[], Scene]] = {
        "right": lambda: right,
        "jittered": lambda: made + place([(t.color, t.shape) for t in rest], [cell_of(t) for t in rest], rng),
        "unchanged": lambda: source,
        "wrong": lambda: (*rest, _altered((made or tuple(filter(edit.changes, source)))[0], rest, rng)),
        "instead": lambda: _meddled(source, _one(rest, rng), rng),
        "as well": lambda: _meddled(right, _one(rest, rng), rng),
        "lost": lambda: _without(right, _one(right, rng)),
        "extra": lambda: (*right, _unasked(right, edit, rng)),
        "unrelated": lambda: _unrelated(rng),
    }
    return ways[outcome if room else "wrong"]()


def _unrelated(rng: Rng) -> Scene:
    cells = [int(cell) for cell in rng.permutation(len(CELLS))[: int(rng.integers(0, 5))]]
    return place([_pick(SEEN, rng) for _ in cells], cells, rng)


def _meddled(scene: Scene, thing: Thing, rng: Rng) -> Scene:
    """The scene with one thing of it altered, or now and then lost."""
    return _without(scene, thing) + (() if rng.random() < 0.2 else (_altered(thing, scene, rng),))


def _without(scene: Scene, thing: Thing) -> Scene:
    return tuple(t for t in scene if t != thing)


def _unasked(scene: Scene, edit: Edit, rng: Rng) -> Thing:
    """One more thing in a free cell; of a move, as often as not the one that should have left."""
    free = [cell for cell in range(len(CELLS)) if cell not in map(cell_of, scene)]
    if edit.kind == "move" and rng.random() < 0.5:
        return place([(edit.color, edit.shape)], [edit.cell], rng)[0]
    return place([_pick(SEEN, rng)], [free[int(rng.integers(len(free)))]], rng)[0]


def _altered(thing: Thing, scene: Sequence[Thing], rng: Rng) -> Thing:
    """The thing in another colour, another shape, both, or in another cell that is free in the scene."""
    how = rng.random()
    free = [cell for cell in range(len(CELLS)) if cell not in map(cell_of, [*scene, thing])]
    if how < 0.25 and free:
        return _put(thing, free[int(rng.integers(len(free)))])
    recoloured = [(c, thing.shape) for c in COLOURS if c != thing.color]
    reshaped = [(thing.color, s) for s in SHAPES if s != thing.shape]
    both = [(c, s) for c in COLOURS for s in SHAPES if c != thing.color and s != thing.shape]
    choices = recoloured if how < 0.6 else reshaped if how < 0.9 else both
    color, shape = _pick([k for k in choices if k in SEEN], rng)
    return dataclasses.replace(thing, color=color, shape=shape)


def _one(scene: Scene, rng: Rng) -> Thing:
    return scene[int(rng.integers(len(scene)))]


def _pick(options: Sequence[Kind], rng: Rng) -> Kind:
    return options[int(rng.integers(len(options)))]


# -- files -----------------------------------------------------------------------------------------------------------------


def to_metadata(source: Scene, edit: Edit) -> dict[str, Any]:
    """As a prompt carries it: {"tag": kind, "scene": [{"class", "color", "x", "y", "radius"}, ...], "edit": {...}}. Scene is
    what is in the source, whose picture stands beside it."""
    things = [{"class": t.shape, "color": t.color, "x": t.x, "y": t.y, "radius": t.radius} for t in source]
    return {"tag": edit.kind, "scene": things, "edit": dataclasses.asdict(edit)}


def from_metadata(metadata: Mapping[str, Any]) -> tuple[Scene, Edit]:
    """The way back."""
    things = (Thing(e["color"], e["class"], e["x"], e["y"], e["radius"]) for e in metadata["scene"])
    return tuple(things), Edit(**metadata["edit"])


def data_url(image: Image) -> str:
    """A picture as prompt files may hold it."""
    written = io.BytesIO()
    image.save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def content(source: Scene, edit: Edit) -> tuple[Any, ...]:
    """By which splits are disjoint: the combinations in the source, and the edit."""
    return (frozenset((t.color, t.shape) for t in source), edit)


def splits(seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """`train`, `heldout`, `unseen`: disjoint in content, each content once, phrasings in turn. The instructions of `unseen`
    name a combination that nothing is trained on."""
    rng = np.random.default_rng(seed)
    known = [(color, shape) for color in COLOURS for shape in SHAPES]
    out: dict[str, list[dict[str, Any]]] = {}
    used = set()
    for name, count in PROMPTS_A_KIND.items():
        rows = []
        for kind in KINDS:
            phrasing = 0
            while phrasing < count:
                source, edit = edit_of(kind, known if name == "unseen" else SEEN, rng)
                unseen = {(edit.color, edit.shape), (edit.to_color, edit.to_shape)} & UNSEEN
                if content(source, edit) in used or bool(unseen) != (name == "unseen"):
                    continue
                used.add(content(source, edit))
                rounded = tuple(Thing(t.color, t.shape, *(round(v, 2) for v in (t.x, t.y, t.radius))) for t in source)
                row = {"prompt": instruction(edit, phrasing % 3), "source": data_url(draw(rounded))}
                rows.append({**row, **to_metadata(rounded, edit)})
                phrasing += 1
        out[name] = [rows[int(i)] for i in rng.permutation(len(rows))]
    return out


if __name__ == "__main__":
    write_files({f"edit_{name}": rows for name, rows in splits().items()})
