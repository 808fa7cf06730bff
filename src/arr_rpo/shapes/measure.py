"""Held-out pictures by the exact oracles of the shapes world."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.measure.base import Measure, Value
from arr_rpo.shapes import annotators, oracle
from arr_rpo.shapes.asked import of_this_world
from arr_rpo.shapes.edit_oracle import judge_prompt
from arr_rpo.shapes.edits import INSTRUCTION, PRESERVATION
from arr_rpo.shapes.questions import questions_of
from arr_rpo.types import Prompt

CRITERIA = "criteria"


class ShapesOracle(Measure):
    """1 where a picture meets every criterion of its prompt, else 0. Further figures: `criteria`, the share that it meets, and
    that share for each sort of criteria; of an edit, whose two criteria are judged to the pixel, `instruction` and
    `preservation`."""

    def why_not(self, prompts: Sequence[Prompt]) -> str:
        for prompt in prompts:
            if not of_this_world(prompt.metadata):
                return f"prompt {prompt.id} ({prompt.text!r}) is not of the shapes world: nobody knows what is right for it"
        return ""

    def values(self, prompts: Sequence[Prompt], images: Sequence[Image], base: Sequence[Image] | None) -> list[Value]:
        return [judged(prompt, image) for prompt, image in zip(prompts, images, strict=True)]


class AnnotatorOracle(Measure):
    """What pictures are worth to an annotator, 0 to 1: their utility over the most that a picture of the prompt can have.
    Further figures: `taste`, the share of what is liked of the tastes that the prompt leaves open, where it leaves one open;
    `followed`, the share of the prompt's criteria that are met, and `strict`, whether all are."""

    def __init__(self, *, annotator: str) -> None:
        self.annotator = annotators.annotator(annotator)
        self.criteria = {one.question: weight for one, weight in self.annotator.tastes}

    def why_not(self, prompts: Sequence[Prompt]) -> str:
        """Of drawings from a text alone: nobody has a taste in edits."""
        edits = next((prompt for prompt in prompts if prompt.source is not None), None)
        return f"prompt {edits.id} is an edit" if edits else ShapesOracle().why_not(prompts)

    def values(self, prompts: Sequence[Prompt], images: Sequence[Image], base: Sequence[Image] | None) -> list[Value]:
        return [self._value(prompt, image) for prompt, image in zip(prompts, images, strict=True)]

    def _value(self, prompt: Prompt, image: Image) -> Value:
        things = oracle.detect(image)
        most = sum(weight for _, weight in self.annotator.open_in(prompt.metadata))
        pleased, followed = self.annotator.pleased(prompt, things), annotators.followed(prompt, things)
        figures = {"followed": followed, "strict": float(followed == 1)} | ({"taste": pleased / most} if most else {})
        met = {one.question: one.truth(things) for one, _ in self.annotator.open_in(prompt.metadata)}
        return Value((self.annotator.prompt * followed + pleased) / (self.annotator.prompt + most), figures, met=met)


def judged(prompt: Prompt, image: Image) -> Value:
    """Of one picture."""
    answers = answers_of(prompt, image)
    of: dict[str, list[bool]] = defaultdict(list)
    for name, met in answers:
        of[name].append(met)
    sorts = {name: sum(met) / len(met) for name, met in of.items()}
    share = sum(met for _, met in answers) / len(answers)
    return Value(float(all(met for _, met in answers)), {CRITERIA: share, **sorts})


def answers_of(prompt: Prompt, image: Image) -> tuple[tuple[str, bool], ...]:
    """(sort, met) of each criterion of the prompt, some sorts more than once; of an edit its two sorts."""
    if prompt.source is not None and "edit" in prompt.metadata:
        result = judge_prompt(prompt, image)
        return (INSTRUCTION, result.instruction), (PRESERVATION, result.preservation)
    found = oracle.detect(image)
    return tuple((question.kind, question.answer(found)) for question in questions_of(prompt.metadata))
