"""Held-out pictures by what they are worth to an annotator."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.measure.base import Measure, Value
from arr_rpo.shapes.annotators import people
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.oracles.measure import ShapesOracle
from arr_rpo.types import Prompt


class AnnotatorOracle(Measure):
    """What pictures are worth to an annotator, 0 to 1: their utility over the most that a picture of the prompt can have.
    Further figures: `taste`, the share of what is liked of the tastes that the prompt leaves open, where it leaves one open;
    `followed`, the share of the prompt's criteria that are met, and `strict`, whether all are."""

    def __init__(self, *, annotator: str) -> None:
        self.annotator = people.annotator(annotator)
        self.criteria = {one.question: weight for one, weight in self.annotator.tastes}

    def why_not(self, prompts: Sequence[Prompt]) -> str:
        """Of drawings from a text alone: nobody has a taste in edits."""
        edits = next((prompt for prompt in prompts if prompt.source is not None), None)
        return f"prompt {edits.id} is an edit" if edits else ShapesOracle().why_not(prompts)

    def values(self, prompts: Sequence[Prompt], images: Sequence[Image], base: Sequence[Image] | None) -> list[Value]:
        return [self._value(prompt, image) for prompt, image in zip(prompts, images, strict=True)]

    def _value(self, prompt: Prompt, image: Image) -> Value:
        things = detection.detect(image)
        most = sum(weight for _, weight in self.annotator.open_in(prompt.metadata))
        pleased, followed = self.annotator.pleased(prompt, things), people.followed(prompt, things)
        figures = {"followed": followed, "strict": float(followed == 1)} | ({"taste": pleased / most} if most else {})
        met = {one.question: one.truth(things) for one, _ in self.annotator.open_in(prompt.metadata)}
        return Value((self.annotator.prompt * followed + pleased) / (self.annotator.prompt + most), figures, met=met)
