"""Forms filled by generating text and reading it: for models that give no probabilities of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from arr_rpo.judge.asking import Conversation
from arr_rpo.judge.forms import Form, NoAnswer, Slots, read
from arr_rpo.judge.replies import choice, one_object
from arr_rpo.types import Cost

Generate: TypeAlias = Callable[[Sequence[Conversation], int], tuple[Sequence[str | NoAnswer], Cost]]


def fill_by_generation(
    generate: Generate, conversations: Sequence[Conversation], forms: Sequence[Form], max_new_tokens: int
) -> tuple[list[Slots | NoAnswer], list[Cost]]:
    """`Model.fill` by `Model.generate`: the chosen option of each slot has probability one.

    A reply that is cut at `max_new_tokens` is not JSON, or none of a menu, and so no answer. `generate` tells the cost of
    the batch, not of each conversation: all of it is put on the first.
    """
    replies, cost = generate(conversations, max_new_tokens)
    answers = [filled(form, reply) for form, reply in zip(forms, replies, strict=True)]
    costs = [dressed for _, dressed in answers]
    return [answer for answer, _ in answers], [costs[0] + cost, *costs[1:]] if costs else []


def filled(form: Form, reply: str | NoAnswer) -> tuple[Slots | NoAnswer, Cost]:
    """The form as a reply fills it, or what is wrong with the reply; and whether it stood in a dressing."""
    if isinstance(reply, NoAnswer):
        return reply, Cost()
    try:
        said = choice(reply, form) if isinstance(form, tuple) else one_object(reply)
        return read(form, said.text), Cost(dressed=int(bool(said.dressing)))
    except NoAnswer as reason:
        return reason, Cost()
