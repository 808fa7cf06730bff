"""Held-out pictures by the exact oracles of the shapes world."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.measure.base import Measure, Value
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.oracles.edit_oracle import judge_prompt
from arr_rpo.shapes.world.asked import of_this_world
from arr_rpo.shapes.world.edits import INSTRUCTION, PRESERVATION
from arr_rpo.shapes.world.questions import questions_of
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
    found = detection.detect(image)
    return tuple((question.kind, question.answer(found)) for question in questions_of(prompt.metadata))
