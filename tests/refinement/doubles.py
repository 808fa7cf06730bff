"""A painter and a judge who can be told what comes of each prompt and round."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PIL import Image

from arr_rpo.noise import Name
from arr_rpo.refinement.base import Trail
from arr_rpo.reward.point_protocols import Rational
from arr_rpo.types import Cost, Critique, Prompt

CRITIC = Rational(dimensions=["objects", "colors"], edit_dimensions=["instruction"], value="overall", tie_margin=0.0)


class Painter:
    """Paints the key: (number at the end of the prompt's id, round, length of the text). `asked` is each text with its key."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Name, ...]]] = []

    def to(self, device: str) -> Painter:
        return self

    def generate(self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[Name, ...]]) -> list[Image.Image]:
        self.asked += [(prompt.text, key) for prompt, key in zip(prompts, keys, strict=True)]
        return [
            Image.new("RGB", (4, 4), (int(re.sub(r"^.*\D", "", str(name))), int(round_number), len(prompt.text)))
            for prompt, (name, round_number) in zip(prompts, keys, strict=True)
        ]


class Writer:
    """Replies in turn; keeps what it was asked. Its `template` is there, or not."""

    name, revision = "scripted", "1"

    def __init__(self, replies: Sequence[str] = ()) -> None:
        self.replies, self.asked = list(replies), []  # type: ignore[var-annotated]

    def template(self, role: str) -> str:
        return role

    def refine_prompt(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[str],
        images: Sequence[Image.Image],
        critiques: Sequence[str],
        max_characters: int,
    ) -> tuple[list[str], Cost]:
        self.asked += [
            (prompt.text, text, image.getpixel((0, 0)), critique, max_characters)
            for prompt, text, image, critique in zip(prompts, texts, images, critiques, strict=True)
        ]
        return [self.replies.pop(0) for _ in prompts], Cost(len(prompts), 100)

    def write(self, *args: object) -> None: ...
    def write_from_pairs(self, *args: object, **more: object) -> None: ...
    def refine(self, *args: object) -> None: ...
    def structure(self, *args: object) -> None: ...


class ScriptedJudge:
    """Grades the picture that the painter painted in round k of prompt i with `grades[i][k - 1]`, 1 to 4; None is a failure.

    i: number at the end of its id.
    stop_at: number of the prompt at which it is interrupted.
    """

    name, revision = "scripted", "1"

    def __init__(self, grades: Sequence[Sequence[float | None]], writer: Writer | None = None, stop_at: int = -1) -> None:
        self.grades, self.writer, self.stop_at = grades, writer, stop_at
        self.asked: list[str] = []

    def critique(self, prompts: Sequence[Prompt], images: Sequence[Image.Image], dimensions: Sequence[str]) -> list[Critique]:
        self.asked += [prompt.text for prompt in prompts]
        return [self._one(image, dimensions) for image in images]

    def _one(self, image: Image.Image, dimensions: Sequence[str]) -> Critique:
        number, round_number, _ = image.getpixel((0, 0))  # type: ignore[misc]
        if number == self.stop_at:
            raise KeyboardInterrupt
        grade, cost = self.grades[number][round_number - 1], Cost(2, 10)
        if grade is None:
            return Critique("", {}, None, cost, "no reply")
        return Critique(f"critique {number}.{round_number}", {dimensions[0]: 2.5, dimensions[-1]: None}, grade, cost)


def values(trail: Trail) -> list[float | None]:
    return [attempt.grade.value for attempt in trail]
