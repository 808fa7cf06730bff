"""Attempts at a prompt, and the protocols of who draws them and of what becomes of the prompt between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from PIL.Image import Image

from arr_rpo.judge.base import Judge
from arr_rpo.noise import Name
from arr_rpo.types import Cost, Grade, Prompt


@dataclass(frozen=True)
class Attempt:
    """A picture, and what was said of it.

    text: what it was drawn from. seed: of its noise, with the prompt's id and the round. grade: as a picture of the prompt that
    was asked for, whatever it was drawn from; its `reason` is the critique, or why there is none. unread: why the text is the
    former one where a better one was asked for. writing: what asking for it took.
    """

    text: str
    seed: tuple[Name, ...]
    image: Image
    grade: Grade
    unread: str = ""
    writing: Cost = field(default_factory=Cost)


Trail = tuple[Attempt, ...]  # the attempts at one prompt, in their order


@dataclass(frozen=True)
class Revision:
    """What to draw from next. unread: why that is the former text where a better one was asked for."""

    text: str
    unread: str = ""
    cost: Cost = field(default_factory=Cost)


class Refinement(Protocol):
    """What becomes of a prompt after a picture of it was criticised."""

    def check(self, judge: Judge) -> None:
        """Raises a UserError where the judge cannot be asked for it, before anything is drawn."""

    def revise(self, judge: Judge, prompts: Sequence[Prompt], trails: Sequence[Trail]) -> list[Revision]:
        """What to draw from next for each prompt, after one attempt or more."""


def best(grades: Sequence[float | None]) -> int:
    """The place of the highest grade, the first of equal ones. What has no grade is never preferred: where nothing has one,
    nothing is known, and the first stays."""
    return max((i for i, grade in enumerate(grades) if grade is not None), key=lambda i: grades[i] or 0.0, default=0)
