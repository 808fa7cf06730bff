"""Questions whose answers are known, by pictures that are drawn here: whether a server sees what it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw
from PIL.Image import Image, new

from arr_rpo.judge.asking import Conversation, user
from arr_rpo.judge.forms import A_B, YES_NO, Form, Menu

SIDE = 256
RED, GREEN, BLUE, WHITE = (210, 30, 30), (30, 150, 50), (30, 60, 200), (255, 255, 255)
COUNTS: Menu = ("1", "2", "3", "4", "5")


@dataclass(frozen=True)
class Known:
    """A question, its form, and the right choice of each slot."""

    name: str
    conversation: Conversation
    form: Form
    right: tuple[str, ...]


def known() -> list[Known]:
    """Colours, places, counts, pictures in both orders, several pictures, a large one, and an object with several answers."""
    red, blue = _discs(RED, [(0.5, 0.5)]), _discs(BLUE, [(0.5, 0.5)])
    left, three = _discs(GREEN, [(0.25, 0.5)]), _discs(RED, [(0.2, 0.3), (0.7, 0.3), (0.5, 0.75)])
    large = _discs(BLUE, [(0.5, 0.5)], side=2048)
    word = "Answer with exactly one word, yes or no."
    return [
        Known("colour, yes", [user(red, f"Is the disc red? {word}")], YES_NO, ("yes",)),
        Known("colour, no", [user(red, f"Is the disc blue? {word}")], YES_NO, ("no",)),
        Known("left", [user(left, f"Is the disc in the left half of the picture? {word}")], YES_NO, ("yes",)),
        Known("right", [user(left, f"Is the disc in the right half of the picture? {word}")], YES_NO, ("no",)),
        Known("count", [user(three, "How many discs are there? Answer with exactly one digit, 1 to 5.")], COUNTS, ("3",)),
        Known("pair", _pair(red, blue), A_B, ("A",)),
        Known("pair, other order", _pair(blue, red), A_B, ("B",)),
        Known("several pictures", [_several([red, blue, left, red])], COUNTS, ("2",)),
        Known("large picture", [user(large, f"Is the disc blue? {word}")], YES_NO, ("yes",)),
        Known("object", [_object(red)], {"red": YES_NO, "blue": YES_NO}, ("yes", "no")),
    ]


def _pair(first: Image, second: Image) -> Conversation:
    return [user("Image A:", first, "Image B:", second, "Which image shows a red disc? Answer with exactly one letter: A|B")]


def _several(pictures: Sequence[Image]) -> dict[str, object]:
    return user(*pictures, "On how many of these pictures is the disc red? Answer with exactly one digit, 1 to 5.")


def _object(picture: Image) -> dict[str, object]:
    form = '{"red":"yes|no","blue":"yes|no"}'
    return user(
        picture,
        "Which colour has the disc? Answer with one JSON object of this form, in which each bar separates the values that you "
        f"choose from, and with nothing else: {form}",
    )


def _discs(colour: tuple[int, int, int], places: Sequence[tuple[float, float]], side: int = SIDE) -> Image:
    image = new("RGB", (side, side), WHITE)
    for x, y in places:
        radius = 0.15 * side
        box = (x * side - radius, y * side - radius, x * side + radius, y * side + radius)
        ImageDraw.Draw(image).ellipse(box, fill=colour)
    return image
