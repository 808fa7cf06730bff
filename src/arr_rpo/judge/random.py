"""The control that answers at random: what is left of a gain under it is no merit of judging."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from arr_rpo.judge.base import Explaining, Pair
from arr_rpo.noise import Purpose, draws
from arr_rpo.types import (
    Answer,
    Cost,
    Criterion,
    CriterionCheck,
    Critique,
    Outcome,
    Preference,
    Prompt,
    Rubric,
    Verdict,
)

RUBRIC = '{"criteria": [{"name": "overall", "question": "does the image follow the prompt?"}]}'


class RandomJudge:
    """See `Judge`: a fair coin for every pair, score, check and critique.

    The coin is seeded by the pictures and questions at hand, so that a resumed run gets the answers of an unbroken one and
    each criterion has a coin of its own.
    """

    name = "random"
    revision = "3"

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self.writer = RandomWriter()

    def _rng(self, *images: Image, about: Sequence[str] = ()) -> np.random.Generator:
        return draws(Purpose.JUDGE, self._seed, *(zlib.crc32(image.tobytes()) for image in images), *about)

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        """See `Judge.compare`. Its two orders agree: a coin has no preference for a place."""
        verdicts = []
        for pair, rubric in zip(pairs, rubrics, strict=True):
            criteria = rubric.criteria if rubric else ()
            rng = self._rng(*pair, about=[c.question for c in criteria])
            p_a = float(rng.random())
            checks = tuple(CriterionCheck(c.name, c.question, float(rng.random()), float(rng.random())) for c in criteria)
            verdicts.append(Verdict(Outcome.A if p_a > 0.5 else Outcome.B, p_a, (p_a, p_a), checks, Cost(calls=2)))
        return verdicts

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Answer]:
        return [Answer(float(self._rng(image).uniform(1, 5)), Cost(calls=1)) for image in images]

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        return [
            Answer(float(self._rng(image, about=[question]).random()), Cost(calls=1))
            for image, question in zip(images, questions, strict=True)
        ]

    def critique(self, prompts: Sequence[Prompt], images: Sequence[Image], dimensions: Sequence[str]) -> list[Critique]:
        critiques = []
        for image in images:
            overall, *grades = map(float, self._rng(image, about=dimensions).uniform(1, 4, 1 + len(dimensions)))
            critiques.append(Critique("no comment", dict(zip(dimensions, grades, strict=True)), overall, Cost(calls=2)))
        return critiques

    def plan(self, prompts: Sequence[Prompt], pairs: Sequence[Pair]) -> tuple[list[str], Cost]:
        """See `Judge.plan`. Every pair has the same checklist."""
        return [RUBRIC] * len(pairs), Cost(calls=len(pairs))


class RandomWriter:
    """See `Writer`. One rubric for every prompt and pair."""

    name, revision = RandomJudge.name, RandomJudge.revision

    def write(self, prompts: Sequence[Prompt]) -> tuple[list[str], Cost]:
        return [RUBRIC] * len(prompts), Cost(calls=len(prompts))

    def write_from_pairs(self, pairs: Sequence[Preference], *, role: Explaining) -> tuple[list[str], Cost]:
        return [RUBRIC] * len(pairs), Cost(calls=len(pairs))

    def refine(
        self, pairs: Sequence[Preference], rubrics: Sequence[Rubric], verdicts: Sequence[Verdict]
    ) -> tuple[list[str], Cost]:
        return [RUBRIC] * len(pairs), Cost(calls=len(pairs))

    def structure(self, criteria: Sequence[Sequence[Criterion]]) -> tuple[list[str], Cost]:
        """See `Writer.structure`. All under one theme."""
        replies = [json.dumps({"themes": [{"theme": "all", "criteria": list(range(1, len(some) + 1))}]}) for some in criteria]
        return replies, Cost(calls=len(criteria))

    def template(self, role: str) -> str:
        """See `Writer.template`. Nothing is asked."""
        return ""
