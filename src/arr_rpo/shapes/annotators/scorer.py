"""An annotator's own opinion as a score."""

from __future__ import annotations

from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.scorer.base import Scorer
from arr_rpo.shapes.annotators import people
from arr_rpo.types import Grade, Prompt


class AnnotatorScorer(Scorer):
    """What pictures are worth to an annotator, by the exact oracle: the ceiling of what can be learned from their labels."""

    def __init__(self, *, annotator: str) -> None:
        self._annotator = people.annotator(annotator)

    def p_better(self, a: float, b: float) -> float:
        """P(the annotator prefers the one that is worth a), a tie half each."""
        p_a, p_tie = people.chances(a - b, self._annotator.temperature, self._annotator.ties)
        return p_a + p_tie / 2

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        """See `Scorer.score`. The checks are the prompt's criteria and the tastes that it leaves open."""
        return [
            Grade(
                self._annotator.utility(prompt, image),
                tuple((question, question, float(met)) for question, met in self._annotator.checks(prompt, image)),
            )
            for prompt, image in zip(prompts, images, strict=True)
        ]
