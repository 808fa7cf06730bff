"""A reward model that was learned from labelled pairs, as a scorer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL.Image import Image

from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.reward_model.model import RewardModel
from arr_rpo.scorer.base import Scorer, grade
from arr_rpo.types import Grade, Prompt


class RewardModelScorer(Scorer):
    """The score of `experiment=reward_model`, in log-odds.

    Args:
        checkpoint: the folder `reward_model` of its run.
        judge: the judge on whose model it was learned; it is asked nothing.
        batch_size: pictures in one pass.
    """

    def __init__(self, *, checkpoint: str, judge: VLMJudge, batch_size: int) -> None:
        self._model, self._batch_size = RewardModel.load(Path(checkpoint), judge), batch_size

    @torch.no_grad()
    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        """See `Scorer.score`. A picture that the model could not describe has none, where it describes them."""
        grades = [Grade(None, reason="the model could not describe the picture")] * len(images)
        for start in range(0, len(images), self._batch_size):
            part = slice(start, start + self._batch_size)
            rows, scores = self._model(prompts[part], images[part])
            for row, value in zip(rows, scores.tolist(), strict=True):
                grades[start + row] = grade(value)
        return grades

    @staticmethod
    def p_better(a: float, b: float) -> float:
        """P(A is preferred) from both scores: Bradley-Terry."""
        return 1 / (1 + math.exp(min(700.0, b - a)))
