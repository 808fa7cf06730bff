"""The words of the world. Everything else in `shapes` is built from these tables."""

from __future__ import annotations

from typing import Final

IMAGE_SIZE: Final = 32
CELL_SIZE: Final = 16

BACKGROUND: Final = (245, 245, 245)
COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (220, 30, 30),
    "green": (20, 150, 50),
    "blue": (30, 60, 225),
    "yellow": (235, 195, 10),
    "purple": (150, 30, 170),
}
SHAPES: Final = ("circle", "square", "triangle", "star")
NUMBERS: Final = {1: "one", 2: "two", 3: "three", 4: "four"}
RELATIONS: Final = ("left of", "right of", "above", "below")
TAGS: Final = ("single_object", "colors", "counting", "two_object", "color_attr", "position")
PHRASINGS: Final = ("a photo of", "a picture of", "a drawing of")
CELLS: Final = ("upper left", "upper right", "lower left", "lower right")

# Never drawn for, and never asked of, anything that is trained: the base policy, the judge, or the policy under RL.
UNSEEN: Final = frozenset({("purple", "star"), ("yellow", "square"), ("green", "triangle")})

SEEN: Final = tuple((c, s) for c in COLOURS for s in SHAPES if (c, s) not in UNSEEN)


def plural(shape: str) -> str:
    return shape + "s"
