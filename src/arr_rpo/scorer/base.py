"""What scorers share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from PIL.Image import Image

from arr_rpo.types import Grade, Prompt, Rubric


class Scorer(ABC):
    """One number a picture; the higher, the better.

    tie_margin: difference within which two pictures of a pair are a tie, where verdicts are made of the numbers.
    """

    uses_rubric = False
    tie_margin = 0.0

    @abstractmethod
    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        """The number of each picture, or why there is none. Image i was made for prompt i."""

    def grades(
        self, judge: object, prompts: Sequence[Prompt], images: Sequence[Image], rubrics: Sequence[Rubric | None]
    ) -> list[Grade]:
        """See `PointProtocol.grades`. No judge is asked and no rubric read."""
        return self.score(prompts, images)


def grade(value: object) -> Grade:
    """A number as it came: None, or one that is not finite, is missing data."""
    if value is None:
        return Grade(None, reason="no score")
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return Grade(float(value))
    return Grade(None, reason=f"the score {value!r} is no finite number")
