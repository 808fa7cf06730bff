"""What judges are asked in these tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw

from arr_rpo.judge.asking import Conversation, assistant, user
from arr_rpo.judge.forms import YES_NO, Form, NoAnswer


def picture(color: str, size: tuple[int, int] = (32, 32)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((4, 4, 18, 22), fill=color)
    return image


RED, BLUE, WIDE, TALL = picture("red"), picture("blue"), picture("green", (48, 24)), picture("teal", (24, 56))
QUESTIONS = ["is there a red circle?", "is there a blue star?", "are there two?"]
LONG = ["is there a red circle?", "is there exactly one object in total?", "is the circle left of the star?"]


def checks(*, described: bool) -> tuple[list[Conversation], list[Form]]:
    """Four images, three of them different in pixels and in size, and three questions about each; one is asked twice."""
    asked: list[Conversation] = []
    for image in (RED, WIDE, TALL, RED.copy()):
        for question in QUESTIONS:
            if described:
                before = [user("prompt: a red circle.", image, "describe the image."), assistant("upper left red circle")]
                asked.append([*before, user(question)])
            else:
                asked.append([user("prompt: a red circle.", image, question)])
    return asked, [YES_NO] * len(asked)


def probabilities(answers: Sequence[Any]) -> list[float]:
    assert not [a for a in answers if isinstance(a, NoAnswer)]
    return [p for slots in answers for slot in slots for p in slot.values()]
