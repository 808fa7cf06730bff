"""The control that answers at random: what is left of a gain under it is no merit of judging."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from arr_rpo.judge.base import Pair
from arr_rpo.types import Cost, CriterionCheck, Outcome, Prompt, Rubric, Score, Verdict


class RandomJudge:
    """A fair coin for every pair, score and check, from a generator of its own; looks at nothing."""

    name = "random"
    revision = "1"

    def __init__(self, *, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        verdicts = []
        for rubric in rubrics:
            p_a = float(self._rng.random())
            checks = tuple(
                CriterionCheck(c.name, c.question, *map(float, self._rng.random(2)))
                for c in (rubric.criteria if rubric else ())
            )
            verdicts.append(Verdict(Outcome.A if p_a > 0.5 else Outcome.B, p_a, (p_a, p_a), checks, Cost(calls=2)))
        return verdicts

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Score]:
        return [Score(float(v), Cost(calls=1)) for v in self._rng.uniform(1, 5, len(images))]

    def check(self, images: Sequence[Image], questions: Sequence[str]) -> list[float | None]:
        return list(map(float, self._rng.random(len(images))))

    def write(self, prompts: Sequence[str]) -> tuple[list[str], Cost]:
        text = '{"criteria": [{"name": "overall", "question": "does the image follow the prompt?"}]}'
        return [text] * len(prompts), Cost(calls=len(prompts))

    def write_template(self) -> str:
        return ""
