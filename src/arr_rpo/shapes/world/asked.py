"""What is asked of pictures made for a prompt or for an edit of a source: the criteria, with their truth, and the words.

Everything depends on the metadata alone, GenEval's or an edit's (`edits.to_metadata`), so that no caller tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from arr_rpo.shapes.world import edits, general, prompts
from arr_rpo.shapes.world.questions import Located, Question, parse
from arr_rpo.shapes.world.tastes import TASTES
from arr_rpo.shapes.world.vocabulary import PHRASINGS, SHAPES

Metadata = Mapping[str, Any]
Rng = np.random.Generator


@dataclass(frozen=True)
class Asked:
    """A criterion with its truth: about one prompt (`Question`) or about any (`general`)."""

    name: str
    text: str
    truth: Callable[[Sequence[Located]], bool]


def specific(question: Question, name: str = "") -> Asked:
    return Asked(name or question.kind, str(question), question.answer)


def own(metadata: Metadata) -> list[Asked]:
    """The criteria that the metadata implies."""
    return [specific(question, name) for name, question in edits.own_questions(metadata)]


def anyone(metadata: Metadata) -> list[Asked]:
    """The criteria that can be asked of any prompt, or of any edit."""
    if not is_edit(metadata):
        return [
            Asked(name, text, lambda things, name=name: general.answer(name, things, metadata))  # type: ignore[misc]
            for name, text in general.GENERAL.items()
        ]
    source, edit = edits.from_metadata(metadata)
    return [
        Asked(name, text, lambda things, name=name: general.edit_answer(name, things, source, edit))  # type: ignore[misc]
        for name, text in general.EDIT_GENERAL.items()
    ]


def truth_of(question: str, metadata: Metadata) -> Callable[[Sequence[Located]], bool]:
    """Whether what is in a picture answers a question of this world with yes, be it of its own, about any prompt, or
    of taste.

    Raises:
        ValueError: the question is of another world.
    """
    general_ones = {asked.text: asked.truth for asked in anyone(metadata)}
    if question in general_ones:
        return general_ones[question]
    return TASTES[question].truth if question in TASTES else parse(question).answer


def text_of(metadata: Metadata, rng: Rng) -> str:
    """The prompt or the instruction, in some phrasing."""
    if is_edit(metadata):
        return edits.instruction(edits.from_metadata(metadata)[1], int(rng.integers(3)))
    return prompts.describe(dict(metadata), str(rng.choice(PHRASINGS)))


def critique_text(things: Sequence[Located], metadata: Metadata) -> str:
    """What a critic says of a picture, dimension by dimension."""
    if is_edit(metadata):
        return general.edit_critique_text(things, *edits.from_metadata(metadata))
    return general.critique_text(things, metadata)


def dimension_grades(things: Sequence[Located], metadata: Metadata) -> dict[str, str]:
    """The grade in each dimension, and overall."""
    if is_edit(metadata):
        return general.edit_dimension_grades(things, *edits.from_metadata(metadata))
    return general.dimension_grades(things, metadata)


def dimensions(metadata: Metadata) -> tuple[str, ...]:
    return general.EDIT_DIMENSIONS if is_edit(metadata) else general.DIMENSIONS


def is_edit(metadata: Metadata) -> bool:
    return isinstance(metadata.get("edit"), Mapping)


def of_this_world(metadata: Metadata) -> bool:
    """Whether anyone knows what is right: GenEval's own metadata have the same form, about things of the real world."""
    include = metadata.get("include")
    if is_edit(metadata) or not isinstance(include, Sequence) or not include:
        return is_edit(metadata) and isinstance(metadata.get("scene"), Sequence)
    return all(isinstance(entry, Mapping) and entry.get("class") in SHAPES for entry in include)
