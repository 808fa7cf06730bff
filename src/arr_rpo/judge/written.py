"""What a model writes in words of its own, as typed forms: the criteria of a rubric, themes, a prompt.

A server is held to a form by its JSON schema; what comes back is checked here, before anybody keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.replies import one_object
from arr_rpo.judge.rubric_reply import RubricError, decode, line, parse_rubric, parse_structure
from arr_rpo.strict_json import short
from arr_rpo.types import Cost, Criterion


@dataclass(frozen=True)
class Written:
    """A JSON object to be written.

    name: part of what a kept reply is known by. schema: of the object. check: raises a `RubricError` where a text is none.
    """

    name: str
    schema: dict[str, Any] = field(hash=False)
    check: Callable[[str], object] = field(compare=False)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_TEXT = {"type": "string"}
CRITERIA = Written(
    "criteria",
    _object(criteria={"type": "array", "items": _object(name=_TEXT, question=_TEXT)}),
    lambda text: parse_rubric(text, {}),
)


def themes(criteria: Sequence[Criterion]) -> Written:
    """The numbers of the criteria under headings."""
    numbers = {"type": "array", "items": {"type": "integer"}}
    schema = _object(themes={"type": "array", "items": _object(theme=_TEXT, criteria=numbers)})
    return Written(f"themes of {len(criteria)}", schema, lambda text: parse_structure(text, criteria))


def prompt(max_characters: int) -> Written:
    """A text to draw from."""
    return Written(f"prompt of {max_characters}", _object(prompt=_TEXT), lambda text: prompt_in(text, max_characters))


def prompt_in(reply: str, max_characters: int) -> str:
    """The text in a JSON object {"prompt": "..."}. Nothing is repaired.

    Raises:
        RubricError: not such an object, no text, more than one line, or too long.
    """
    data = decode(reply)
    if not isinstance(data, dict) or set(data) != {"prompt"}:
        raise RubricError(f'not an object with the one key "prompt": {short(reply)}')
    text = line(data["prompt"], "the prompt")
    if len(text) > max_characters:
        raise RubricError(f"the prompt has {len(text)} characters and may have {max_characters}: {short(text)}")
    return text


def read_written(form: Written, reply: str | NoAnswer) -> tuple[str | NoAnswer, Cost]:
    """The object that a reply holds, without its dressing, or why there is none; and whether there was a dressing."""
    if isinstance(reply, NoAnswer):
        return reply, Cost()
    try:
        said = one_object(reply)
        form.check(said.text)
    except NoAnswer as reason:
        return reason, Cost()
    except RubricError as error:
        return NoAnswer(error.reason, str(error)), Cost()
    return said.text, Cost(dressed=int(bool(said.dressing)))
