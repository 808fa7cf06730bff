"""Several reward models as one: the usual defence against their faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL.Image import Image

from arr_rpo.scorer.base import Scorer
from arr_rpo.scorer.reward_model import RewardModelScorer
from arr_rpo.types import Grade, Prompt, UserError


class RewardModelEnsemble(Scorer):
    """The mean of the scores of several reward models, in log-odds (arXiv 2310.02743 has what such a mean is worth).

    Args:
        models: by name, at least two. A picture that one of them has no score for has none.

    Raises:
        UserError: there are fewer than two.
    """

    p_better = staticmethod(RewardModelScorer.p_better)

    def __init__(self, *, models: Mapping[str, RewardModelScorer]) -> None:
        if len(models) < 2:
            raise UserError(f"an ensemble takes two reward models or more, and has {len(models)}: models.<name>={{...}}")
        self.models = dict(models)

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        """See `Scorer.score`."""
        return [_mean(grades) for grades in zip(*(m.score(prompts, images) for m in self.models.values()), strict=True)]


def _mean(grades: Sequence[Grade]) -> Grade:
    if failed := next((one for one in grades if one.value is None), None):
        return failed
    return Grade(sum(one.value or 0.0 for one in grades) / len(grades))
