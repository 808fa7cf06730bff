"""What is seen in a server's reply: words, an object of the model's own, a filled form."""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from arr_rpo.judge.forms import Form, NoAnswer, Slots
from arr_rpo.judge.generated import filled
from arr_rpo.judge.replies import words
from arr_rpo.judge.server.completion import Reply
from arr_rpo.judge.written import Written, read_written
from arr_rpo.strict_json import short
from arr_rpo.types import Cost, Reason

T = TypeVar("T")
Answered: TypeAlias = "tuple[T | NoAnswer, Cost]"


def in_words(reply: Reply) -> Answered[str]:
    try:
        said = words(reply.text)
    except NoAnswer as reason:
        return reason, Cost()
    return said.text, Cost(dressed=int(bool(said.dressing)))


def whole(form: Form, reply: Reply) -> Answered[Slots]:
    return cut_off(reply) if reply.cut else filled(form, reply.text)


def written(form: Written, reply: Reply) -> Answered[str]:
    return cut_off(reply) if reply.cut else read_written(form, reply.text)


def cut_off(reply: Reply) -> tuple[NoAnswer, Cost]:
    try:
        words(reply.text)
    except NoAnswer as reason:  # a thought that was cut
        return reason, Cost()
    return NoAnswer(Reason.CUT_OFF, f"the reply was cut off at the token limit: {short(reply.text)}"), Cost()
