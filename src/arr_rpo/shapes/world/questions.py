"""The questions of the world: each has one wording, one meaning, and can be parsed back from its wording.

A rubric's criteria are such wordings. The oracle parses and answers them on detected objects; the judge answers them on
pixels, and never sees this module at run time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from arr_rpo.shapes.world.vocabulary import CELLS, COLOURS, IMAGE_SIZE, NUMBERS, RELATIONS, SHAPES, plural

POSITION_MARGIN = 6.0  # pixels by which centres must differ to be "left of", "above" ...


class Located(Protocol):
    """What a question can be asked about: drawn things and detected objects alike."""

    @property
    def color(self) -> str: ...
    @property
    def shape(self) -> str: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...


@dataclass(frozen=True)
class Question:
    """kind: existence, counting, position, total, place or empty. `color` None is any colour; the `other_` fields are for
    position, `cell` (an index of `CELLS`) for place and empty.
    """

    kind: str
    shape: str = ""
    color: str | None = None
    count: int = 1
    relation: str = ""
    other_shape: str = ""
    other_color: str | None = None
    cell: int | None = None

    @property
    def name(self) -> str:
        """What it asks about: "red circle", or "circle" of any colour."""
        return _name(self.color, self.shape)

    def __str__(self) -> str:
        name = self.name
        if self.kind == "existence":
            return f"is there a {name}?"
        if self.kind == "counting":
            return f"are there exactly {NUMBERS[self.count]} {_name(self.color, plural(self.shape))}?"
        if self.kind == "position":
            return f"is the {name} {self.relation} the {_name(self.other_color, self.other_shape)}?"
        if self.kind in ("place", "empty"):
            assert self.cell is not None
            return f"is there {f'a {name}' if self.kind == 'place' else 'nothing'} {CELLS[self.cell]}?"
        noun = "is there exactly one object" if self.count == 1 else f"are there exactly {NUMBERS[self.count]} objects"
        return f"{noun} in total?"

    def answer(self, things: Sequence[Located]) -> bool:
        """Whether it holds. Position asks for some pair of the two kinds that stands so."""
        here = [t for t in things if self.is_about(t)]
        if self.kind == "existence":
            return bool(here)
        if self.kind == "counting":
            return len(here) == self.count
        if self.kind == "total":
            return len(things) == self.count
        if self.kind == "place":
            return any(cell_of(t) == self.cell for t in here)
        if self.kind == "empty":
            return all(cell_of(t) != self.cell for t in things)
        there = [t for t in things if _is(t, self.other_color, self.other_shape)]
        return any(stands(a, self.relation, b) for a in here for b in there)

    def is_about(self, thing: Located) -> bool:
        return _is(thing, self.color, self.shape)


def cell_of(thing: Located) -> int:
    """The cell that a thing's centre is in: an index of `CELLS`. Exact for pictures of `IMAGE_SIZE` pixels."""
    return 2 * (thing.y > IMAGE_SIZE / 2) + (thing.x > IMAGE_SIZE / 2)


def stands(a: Located, relation: str, b: Located) -> bool:
    """Whether a stands left of, right of, above or below b by more than `POSITION_MARGIN` pixels."""
    return {
        "left of": b.x - a.x > POSITION_MARGIN,
        "right of": a.x - b.x > POSITION_MARGIN,
        "above": b.y - a.y > POSITION_MARGIN,
        "below": a.y - b.y > POSITION_MARGIN,
    }[relation]


def _name(color: str | None, noun: str) -> str:
    return f"{color} {noun}" if color else noun


def _is(thing: Located, color: str | None, shape: str) -> bool:
    return thing.shape == shape and (color is None or thing.color == color)


_NAME = rf"(?:(?P<color>{'|'.join(COLOURS)}) )?(?P<shape>{'|'.join(SHAPES)})"
_OTHER = _NAME.replace("<color>", "<other_color>").replace("<shape>", "<other_shape>")
_CELL = rf"(?P<cell>{'|'.join(CELLS)})"
_COUNT = rf"(?P<count>{'|'.join(NUMBERS.values())})"
_FORMS = {
    "existence": re.compile(rf"is there a {_NAME}\?"),
    "counting": re.compile(rf"are there exactly {_COUNT} {_NAME}s\?"),
    "position": re.compile(rf"is the {_NAME} (?P<relation>{'|'.join(RELATIONS)}) the {_OTHER}\?"),
    "total": re.compile(rf"(?:is|are) there exactly {_COUNT} objects? in total\?"),
    "place": re.compile(rf"is there a {_NAME} {_CELL}\?"),
    "empty": re.compile(rf"is there nothing {_CELL}\?"),
}
_VALUES = {word: number for number, word in NUMBERS.items()}


def parse(text: str) -> Question:
    """The question behind a wording.

    Raises:
        ValueError: the wording is none that this world knows.
    """
    for kind, form in _FORMS.items():
        if match := form.fullmatch(text.strip()):
            fields: dict[str, Any] = {key: value for key, value in match.groupdict().items() if value is not None}
            if "count" in fields:
                fields["count"] = _VALUES[fields["count"]]
            if "cell" in fields:
                fields["cell"] = CELLS.index(fields["cell"])
            question = Question(kind=kind, **fields)
            if str(question) == text.strip():  # the patterns let "are there exactly one object" through
                return question
    raise ValueError(f"not a question of the shapes world: {text!r}")


def questions_of(metadata: Mapping[str, Any]) -> tuple[Question, ...]:
    """The criteria that a prompt's GenEval metadata implies, the strict measure of success."""
    include = metadata["include"]
    asked = []
    for entry in include:
        shape, color, count = entry["class"], entry.get("color"), entry.get("count", 1)
        if metadata["tag"] == "counting":
            asked.append(Question("counting", shape, color, count))
        else:
            asked.append(Question("existence", shape, color))
        if "position" in entry:
            relation, target = entry["position"]
            other = include[target]
            asked.append(
                Question("position", shape, color, 1, relation, other_shape=other["class"], other_color=other.get("color"))
            )
    asked.append(Question("total", count=sum(entry.get("count", 1) for entry in include)))
    return tuple(asked)
