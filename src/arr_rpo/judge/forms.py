"""Reply forms: fixed text with slots, each slot a menu of one-token choices.

A local model fills a form by the probabilities it gives to the choices, so that every reply is well-formed, carries its
probabilities, and needs no parser. Between slots the fixed text is given, not generated.
"""

from __future__ import annotations

from collections.abc import Sequence

Menu = tuple[str, ...]
Form = tuple[str | Menu, ...]

YES_NO: Menu = ("yes", "no")
A_B: Menu = ("A", "B")
GRADES: Menu = ("1", "2", "3", "4", "5")


def critique(questions: Sequence[str]) -> Form:
    """Each criterion, restated, with whether image A and image B meet it; then how many each meets; then the better image."""
    parts: list[str | Menu] = []
    for number, question in enumerate(questions, start=1):
        parts += [f"{number}. {question} A:", YES_NO, " B:", YES_NO, "\n"]
    tally: Menu = tuple(str(n) for n in range(len(questions) + 1))
    return (*parts, "score A:", tally, " B:", tally, "\nbetter:", A_B)


def outline(form: Form) -> tuple[Menu | None, ...]:
    """The form without its texts: forms of one outline can be filled together."""
    return tuple(None if isinstance(part, str) else part for part in form)
