"""The mean of a scorer's numbers."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.measure.base import Measure, Value
from arr_rpo.scorer.base import Scorer
from arr_rpo.types import Prompt


class Scored(Measure):
    """What a scorer gives each picture, in its own unit. A picture without a score is left out of the mean, and counted."""

    def __init__(self, *, scorer: Scorer) -> None:
        self.scorer = scorer

    def values(self, prompts: Sequence[Prompt], images: Sequence[Image], base: Sequence[Image] | None) -> list[Value]:
        return [
            Value(grade.value, reason=grade.reason if grade.value is None else "")
            for grade in self.scorer.score(prompts, images)
        ]
