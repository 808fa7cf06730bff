"""The control that answers at random: what is left of a gain under it is no merit of judging."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from arr_rpo.judge.base import Pair
from arr_rpo.types import Cost, CriterionCheck, Outcome, Prompt, Rubric, Score, Verdict


class RandomJudge:
    """A fair coin for every pair, score and check.

    The coin is seeded by the bytes in question, so that a resumed run gets the answers of an unbroken one.
    """

    name = "random"
    revision = "1"

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def _rng(self, *images: Image) -> np.random.Generator:
        return np.random.default_rng((self._seed, *(zlib.crc32(image.tobytes()) for image in images)))

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        verdicts = []
        for pair, rubric in zip(pairs, rubrics, strict=True):
            rng = self._rng(*pair)
            p_a = float(rng.random())
            checks = tuple(
                CriterionCheck(c.name, c.question, *map(float, rng.random(2))) for c in (rubric.criteria if rubric else ())
            )
            verdicts.append(Verdict(Outcome.A if p_a > 0.5 else Outcome.B, p_a, (p_a, p_a), checks, Cost(calls=2)))
        return verdicts

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Score]:
        return [Score(float(self._rng(image).uniform(1, 5)), Cost(calls=1)) for image in images]

    def check(self, images: Sequence[Image], questions: Sequence[str]) -> list[float | None]:
        return [float(self._rng(image).random()) for image in images]

    def write(self, prompts: Sequence[str]) -> tuple[list[str], Cost]:
        text = '{"criteria": [{"name": "overall", "question": "does the image follow the prompt?"}]}'
        return [text] * len(prompts), Cost(calls=len(prompts))

    def write_template(self) -> str:
        return ""
