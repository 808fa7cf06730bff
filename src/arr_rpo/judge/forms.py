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


def critique(criteria: int) -> Form:
    """For each criterion `1.yes/no` (image A / image B); then how many each meets; then the better image."""
    parts: list[str | Menu] = []
    for number in range(1, criteria + 1):
        parts += [f"{number}.", YES_NO, "/", YES_NO, "\n"]
    tally: Menu = tuple(str(n) for n in range(criteria + 1))
    return (*parts, "score ", tally, "/", tally, "\n", A_B)


def filled(form: Form, choices: Sequence[str]) -> tuple[str, ...]:
    """The reply's pieces with `choices` in the slots, in order. Tokenise piece by piece: that is how forms are filled."""
    slots = sum(isinstance(part, tuple) for part in form)
    if slots != len(choices):
        raise ValueError(f"{len(choices)} choices for {slots} slots")
    remaining = iter(choices)
    return tuple(next(remaining) if isinstance(part, tuple) else part for part in form)
