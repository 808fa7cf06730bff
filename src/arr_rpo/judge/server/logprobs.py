"""The slots of a form by the log-probabilities of a reply's tokens, in one request a form.

The server writes the whole form; at the place of each choice stands what it could have chosen instead. A server lists the most
probable tokens alone. What is not listed has at most the probability of the least one listed, and all that is not listed at
most what is left of one: a slot is known as far as these bounds go, and no further.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from arr_rpo.judge.forms import Form, Menu, NoAnswer, Slots, menus
from arr_rpo.judge.server.completion import Token
from arr_rpo.types import Reason

SPACES = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})  # how vocabularies write them
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|[{}:]')
Path = tuple[str, ...]


def slots_of(form: Form, said: str, tokens: Sequence[Token], min_mass: float, max_open: float) -> Slots | NoAnswer:
    """Each slot's probabilities.

    said: the reply as it was read, which fills the form. min_mass: probability that a menu must hold. max_open: how far apart
    the bounds of a choice's probability may be.
    """
    try:
        if isinstance(form, tuple):
            return [_slot(form, tokens[0], "", min_mass, max_open)]
        return [
            _slot(menu, token, before, min_mass, max_open)
            for menu, token, before in zip(menus(form), *zip(*_places(form, said, tokens), strict=True), strict=True)
        ]
    except NoAnswer as reason:
        return reason


def _slot(menu: Menu, token: Token, before: str, min_mass: float, max_open: float) -> dict[str, float]:
    known = dict.fromkeys(menu, 0.0)
    for text, p in token.listed.items():
        if (choice := _begun(text, before, menu)) is not None:
            known[choice] += p
    mass = sum(known.values())
    if not mass >= min_mass or mass == 0:
        raise NoAnswer(Reason.OFF_MENU, f"the menu {'/'.join(menu)} holds only {mass:.2f} of the probability")
    rest = max(0.0, 1.0 - sum(token.listed.values()))
    most = min(rest, token.least)
    hidden = {choice: most if p == 0 else 0.0 for choice, p in known.items()}
    between = min(rest, sum(hidden.values()))
    for choice in menu:
        low = known[choice] / (mass + between) if mass + between else 0.0
        high = (known[choice] + hidden[choice]) / (mass + hidden[choice])
        if high - low > max_open:
            raise NoAnswer(
                Reason.OPEN,
                f"the log-probabilities listed leave {choice!r} of {'/'.join(menu)} between {low:.2f} and {high:.2f}",
            )
    middle = {choice: known[choice] + hidden[choice] / 2 for choice in menu}
    return {choice: p / sum(middle.values()) for choice, p in middle.items()}


def _begun(token: str, before: str, menu: Menu) -> str | None:
    """The choice that a token begins, after what stands before the choice in the same token: its own text, whatever space
    before and whatever quote after it; or the first letters of no other choice ("N" of "NA")."""
    text = token.translate(SPACES)
    if before and not text.startswith(before):
        return None
    text = text[len(before) :].lstrip(" ").split('"')[0]
    if text in menu:
        return text
    if alike := [choice for choice in menu if len(text) > 1 and choice.casefold() == text.casefold()]:
        return alike[0] if len(alike) == 1 else None
    begun = [choice for choice in menu if text and choice.startswith(text)]
    return begun[0] if len(begun) == 1 else None


def _places(form: Form, said: str, tokens: Sequence[Token]) -> Iterator[tuple[Token, str]]:
    """For each slot the token in which its choice begins, and what stands before the choice in it."""
    spans = _spans(said, tokens)
    values = dict(_values(said))
    for path in _paths(form):
        at = len(said[: values[path]].encode())
        start, token = next((start, token) for start, end, token in spans if start <= at < end)
        yield token, token.text[: at - start].decode(errors="replace")


def _spans(said: str, tokens: Sequence[Token]) -> list[tuple[int, int, Token]]:
    """Where each token stands in the reply, in bytes.

    Raises:
        NoAnswer: the tokens are not the reply's.
    """
    for pieces in ([t.text for t in tokens], [t.text.decode(errors="replace").translate(SPACES).encode() for t in tokens]):
        first = b"".join(pieces).rfind(said.encode())
        if first >= 0:
            spans, at = [], -first
            for piece, token in zip(pieces, tokens, strict=True):
                spans.append((at, at + len(piece), Token(piece, token.listed, token.least)))
                at += len(piece)
            return spans
    raise NoAnswer(Reason.OPEN, "the tokens that the server lists are not those of its reply")


def _values(said: str) -> Iterator[tuple[Path, int]]:
    """The texts in a JSON object, by the keys above them, with where they begin."""
    above: list[str] = []
    text, at = "", 0
    for found in STRING.finditer(said):
        mark = found[0]
        if mark == "{":
            above.append("")
        elif mark == "}":
            above.pop()
        elif mark == ":":
            above[-1] = text
        else:
            text, at = json.loads(mark), found.start() + 1
            if said[found.end() :].lstrip()[:1] != ":":
                yield tuple(above), at


def _paths(form: Form, above: Path = ()) -> Iterator[Path]:
    if isinstance(form, tuple):
        yield above
        return
    for key, value in form.items():
        yield from _paths(value, (*above, key))
