"""One pointwise grade an image, without rubric: the classic reward model's form."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from arr_rpo.judge.base import Judge
from arr_rpo.types import Cost, Rewards, Rollout, Rubric


class Scalar:
    """The expected grade, 1 to 5, scaled to [0, 1] (the VIEScore family, arXiv 2312.14867). Failed grades are masked."""

    uses_rubric = False

    def check_group_size(self, group_size: int) -> None:
        """Any size will do."""

    def __call__(self, judge: Judge, rollout: Rollout, rubrics: Sequence[Rubric | None]) -> Rewards:
        prompts = [prompt for prompt in rollout.prompts for _ in range(rollout.group_size)]
        scores = judge.score(prompts, rollout.images)
        values = torch.tensor([0.0 if s.value is None else (s.value - 1) / 4 for s in scores])
        valid = torch.tensor([s.value is not None for s in scores])
        return Rewards(values, valid, rubrics=tuple(rubrics), cost=sum((s.cost for s in scores), Cost()))
