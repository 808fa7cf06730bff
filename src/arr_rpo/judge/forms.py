"""Reply forms: a JSON object whose leaves are menus of choices, or one bare menu.

One definition serves every kind of judge. A local model fills the slots by the probabilities it gives to the choices
(`pieces`); a server is held to the form by its JSON schema (`schema`); what comes back as text is read strictly (`read`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from arr_rpo.strict_json import RepeatedKeyError, decode, short
from arr_rpo.types import Reason

Menu: TypeAlias = tuple[str, ...]
Piece: TypeAlias = "str | Menu"
Form: TypeAlias = "Menu | Mapping[str, Form]"
Steps: TypeAlias = "list[tuple[str, Menu]]"  # for each slot of a form, the fixed text before it and what is chosen from
Slots: TypeAlias = "list[dict[str, float]]"  # for each slot of a form, the probability of each choice

YES_NO: Menu = ("yes", "no")
A_B: Menu = ("A", "B")
GRADES: Menu = ("1", "2", "3", "4", "5")
DIMENSION_GRADES: Menu = ("1", "2", "3", "4", "NA")
JSON_SPACE = " \t\r\n"
MOST_COUNTED = 9  # more would not be one token


class NoAnswer(Exception):  # noqa: N818 - what a judge may say, not what a program did wrong
    """The judge gave no usable answer, and why, as a kind and in words: missing data, never a number."""

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words)
        self.reason = reason

    def about(self, what: str) -> NoAnswer:
        """The same with something said before its words."""
        return NoAnswer(self.reason, f"{what}{self}")


def verdict(questions: Sequence[str]) -> Form:
    """Each criterion with whether image A and image B meet it, how many each meets, and which image is better.

    questions: the keys of the criteria, the questions themselves or their numbers.
    """
    checked = {question: {"A": YES_NO, "B": YES_NO} for question in questions}
    tally: Menu = tuple(str(n) for n in range(len(questions) + 1))
    met = {"met": {"A": tally, "B": tally}} if len(questions) <= MOST_COUNTED else {}
    return {"criteria": checked, **met, "better": A_B}


def grades(dimensions: Sequence[str]) -> Form:
    """A grade of 1 to 4 in each dimension, NA where it does not apply, then an overall one."""
    return {**dict.fromkeys(dimensions, DIMENSION_GRADES), "overall": DIMENSION_GRADES[:-1]}


def pieces(form: Form) -> list[Piece]:
    """The reply, JSON compact, cut at its slots: fixed texts, which are given, and menus, which are chosen from."""
    if isinstance(form, tuple):
        return [form]
    joined: list[Piece] = []
    for piece in _json_pieces(form):
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _json_pieces(form: Form) -> Iterator[Piece]:
    if isinstance(form, tuple):
        yield from ('"', form, '"')
        return
    for index, (key, value) in enumerate(form.items()):
        yield ("," if index else "{") + json.dumps(key, ensure_ascii=False) + ":"
        yield from _json_pieces(value)
    yield "}"


def steps(form: Form) -> Steps:
    """Each menu after the fixed text before it. What is fixed after the last one need not be read."""
    found: Steps = []
    text = ""
    for piece in pieces(form):
        if isinstance(piece, tuple):
            found.append((text, piece))
        text = piece if isinstance(piece, str) else ""
    return found


def menus(form: Form) -> list[Menu]:
    return [menu for _, menu in steps(form)]


def example(form: Form) -> str:
    """The form as a person would be shown it: alternatives separated by a bar."""
    return "".join(piece if isinstance(piece, str) else "|".join(piece) for piece in pieces(form))


def schema(form: Form) -> dict[str, Any]:
    """The JSON schema of a reply, for servers that decode by one."""
    if isinstance(form, tuple):
        return {"type": "string", "enum": list(form)}
    return {
        "type": "object",
        "properties": {key: schema(value) for key, value in form.items()},
        "required": list(form),
        "additionalProperties": False,
    }


def read(form: Form, reply: str) -> Slots:
    """A reply's choices, each with probability one. Strict: nothing is repaired, and a partial reply is no reply.

    Raises:
        NoAnswer: not JSON, a key missing, unknown or there twice, or a choice outside its menu.
    """
    if isinstance(form, tuple):
        return [_chosen(form, reply.strip(JSON_SPACE), reply)]
    try:
        data = decode(reply)
    except ValueError as error:
        reason = Reason.AMBIGUOUS if isinstance(error, RepeatedKeyError) else Reason.NOT_JSON
        raise NoAnswer(reason, f"not JSON ({error}): {short(reply)}") from error
    return list(_read(form, data, reply))


def _read(form: Form, data: Any, reply: str) -> Iterator[dict[str, float]]:
    if isinstance(form, tuple):
        yield _chosen(form, data, reply)
        return
    if not isinstance(data, dict):
        wanted = f"an object with {', '.join(form)} is wanted"
        raise NoAnswer(Reason.OTHER_FORM, f"{type(data).__name__} where {wanted}: {short(reply)}")
    if missing := [key for key in form if key not in data]:
        raise NoAnswer(Reason.OTHER_FORM, f"{missing[0]!r} is missing: {short(reply)}")
    if unknown := [key for key in data if key not in form]:
        raise NoAnswer(Reason.OTHER_FORM, f"{short(unknown[0])!r} was not asked for: {short(reply)}")
    for key, value in form.items():
        yield from _read(value, data[key], reply)


def _chosen(menu: Menu, choice: Any, reply: str) -> dict[str, float]:
    if choice not in menu:
        # Nested lists can be too deep to be printed.
        said = repr(short(choice)) if isinstance(choice, str) else type(choice).__name__
        raise NoAnswer(Reason.NO_CHOICE, f"{said} is none of {'/'.join(menu)}: {short(reply)}")
    return {option: float(option == choice) for option in menu}
