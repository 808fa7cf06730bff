"""Tastes: what people may like of a picture where its prompt leaves it open. Each is a question with its truth.

Some are questions that a prompt may ask, too (`questions`: a place, a position without colours, an empty cell). The others are
asked here alone. A taste is made of attributes (red; circle and red): two tastes that share one are not therefore the same.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arr_rpo.shapes.world.questions import Located, Question, cell_of, parse
from arr_rpo.shapes.world.scene import Thing
from arr_rpo.shapes.world.vocabulary import CELL_SIZE, CELLS, COLOURS, RELATIONS, SEEN, SHAPES

Truth = Callable[[Sequence[Located]], bool]
HALVES = {"upper row": (0, 1), "lower row": (2, 3), "left column": (0, 2), "right column": (1, 3)}  # cells
DIAGONALS = ((0, 3), (1, 2))
ASKED_OF_PROMPTS = ("place", "position", "empty")  # kinds of `Question` that may be a taste


@dataclass(frozen=True)
class Taste:
    """question: its one wording. theme: the heading under which it stands in a structured rubric."""

    question: str
    attributes: frozenset[str]
    theme: str
    truth: Truth


def taste(question: str) -> Taste:
    """The taste behind a wording.

    Raises:
        ValueError: it is none.
    """
    if question in TASTES:
        return TASTES[question]
    asked = parse(question)
    if asked.kind not in ASKED_OF_PROMPTS or asked.color or asked.other_color:
        raise ValueError(f"{question!r} is a question of prompts, and no taste")
    return Taste(question, _attributes(asked), "positions", asked.answer)


def _attributes(asked: Question) -> frozenset[str]:
    words = [asked.shape, asked.relation, asked.other_shape]
    if asked.cell is not None:
        words += [CELLS[asked.cell], "nothing" if asked.kind == "empty" else ""]
    return frozenset(filter(None, words))


def _tastes() -> Iterator[Taste]:
    for color in COLOURS:
        yield Taste(f"is there something {color}?", frozenset({color}), "colors", _some(color))
        yield Taste(f"is there nothing {color}?", frozenset({color, "nothing"}), "colors", _none(color))
        for cell, name in enumerate(CELLS):
            question = f"is there something {color} {name}?"
            yield Taste(question, frozenset({color, name}), "positions", _some(color, cell))
    for color, shape in SEEN:
        yield Taste(f"is every {shape} {color}?", frozenset({color, shape}), "colors", _every(shape, color))
    for half, cells in HALVES.items():
        yield Taste(f"is every object in the {half}?", frozenset({half}), "positions", _within((cells,)))
    rows, columns = ([HALVES[half] for half in HALVES if word in half] for word in ("row", "column"))
    for line, places in (("in one row", rows), ("in one column", columns), ("on one diagonal", DIAGONALS)):
        yield Taste(f"do all objects stand {line}?", frozenset({line}), "positions", _several(_within(places)))
    one, different = (lambda n, colors: colors == 1), (lambda n, colors: colors == n)
    for word, fits in (("one color", one), ("different colors", different)):
        yield Taste(f"do all objects have {word}?", frozenset({word}), "colors", _several(_colors(fits)))


def _some(color: str, cell: int | None = None) -> Truth:
    return lambda things: any(t.color == color and cell in (None, cell_of(t)) for t in things)


def _none(color: str) -> Truth:
    """An empty picture is no answer to a dislike."""
    return lambda things: bool(things) and all(t.color != color for t in things)


def _every(shape: str, color: str) -> Truth:
    """There must be one."""

    def truth(things: Sequence[Located]) -> bool:
        colors = {t.color for t in things if t.shape == shape}
        return colors == {color}

    return truth


def _within(places: Sequence[Sequence[int]]) -> Truth:
    """Whether all things, and one at least, stand in the cells of one of the places."""
    return lambda things: bool(things) and any(all(cell_of(t) in cells for t in things) for cells in places)


def _several(truth: Truth) -> Truth:
    """What "all objects" have in common is asked of two at least."""
    return lambda things: len(things) > 1 and truth(things)


def _colors(fits: Callable[[int, int], bool]) -> Truth:
    return lambda things: fits(len(things), len({t.color for t in things}))


TASTES: Mapping[str, Taste] = {one.question: one for one in _tastes()}


def everything() -> tuple[Taste, ...]:
    """Every taste that there is: those of this module, and those that are questions of prompts, too."""
    asked = [Question("empty", cell=cell) for cell in range(len(CELLS))]
    asked += [Question("place", shape, cell=cell) for shape in SHAPES for cell in range(len(CELLS))]
    asked += [
        Question("position", a, None, 1, relation, other_shape=b)
        for a, b in itertools.permutations(SHAPES, 2)
        for relation in RELATIONS
    ]
    return (*TASTES.values(), *(taste(str(one)) for one in asked))


def leaves_open(metadata: Mapping[str, Any], question: str) -> bool:
    """Whether of the pictures that follow a prompt some meet a taste and some do not."""
    return _leaves_open(json.dumps(metadata["include"]), question)


@functools.lru_cache(maxsize=100_000)
def _leaves_open(include: str, question: str) -> bool:
    truth = taste(question).truth
    return len({truth(things) for things in _following(include)}) == 2


def following(metadata: Mapping[str, Any]) -> tuple[tuple[Thing, ...], ...]:
    """Every picture that follows a prompt: its things in all colours that are left open, in all cells."""
    return _following(json.dumps(metadata["include"]))


@functools.lru_cache(maxsize=256)
def _following(include: str) -> tuple[tuple[Thing, ...], ...]:
    entries = json.loads(include)
    each = [[(c, s) for c, s in SEEN if s == e["class"] and c == e.get("color", c)] for e in entries for _ in range(e["count"])]
    pictures: dict[frozenset[tuple[tuple[str, str], int]], tuple[Sequence[tuple[str, str]], Sequence[int]]] = {}
    for kinds in itertools.product(*each):
        for cells in itertools.permutations(range(len(CELLS)), len(kinds)):
            if all(_placed(entry, entries, cells) for entry in enumerate(entries)):
                pictures.setdefault(frozenset(zip(kinds, cells, strict=True)), (kinds, cells))
    return tuple(tuple(map(_thing, kinds, cells)) for kinds, cells in pictures.values())


def _placed(entry: tuple[int, Mapping[str, Any]], entries: Sequence[Mapping[str, Any]], cells: Sequence[int]) -> bool:
    """Whether an entry stands as the prompt says. Those with a position are one thing each."""
    index, asked = entry
    if "position" not in asked:
        return True
    relation, target = asked["position"]
    here, there = (_thing(("", str(i)), cells[i]) for i in (index, target))
    return Question("position", str(index), None, 1, relation, other_shape=str(target)).answer((here, there))


def _thing(kind: tuple[str, str], cell: int) -> Thing:
    row, column = divmod(cell, 2)
    return Thing(*kind, (column + 0.5) * CELL_SIZE, (row + 0.5) * CELL_SIZE, CELL_SIZE / 3)
