"""Several reward models as one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from PIL import Image

from arr_rpo.reward.protocols import as_verdicts
from arr_rpo.scorer.base import Scorer, grade
from arr_rpo.scorer.ensemble import RewardModelEnsemble
from arr_rpo.types import Grade, Outcome, Prompt, UserError

PROMPT = Prompt("1", "a cat")
A, B = Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 0)


class Weighs(Scorer):
    """So much for each degree of brightness; None for the dark one where it has no word of it."""

    def __init__(self, weight: float, silent: bool = False) -> None:
        self.weight, self.silent = weight, silent

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Grade]:
        degrees = [float(image.getpixel((0, 0))) for image in images]  # type: ignore[arg-type]
        return [grade(None if self.silent and not degree else self.weight * degree) for degree in degrees]


def ensemble(*models: Scorer) -> RewardModelEnsemble:
    return RewardModelEnsemble(models={str(n): model for n, model in enumerate(models)})  # type: ignore[misc]


def test_the_mean_decides_and_not_the_number_of_models() -> None:
    several = ensemble(Weighs(0.05), Weighs(-0.001), Weighs(-0.001), Weighs(-0.001))
    assert [one.value for one in several.score([PROMPT] * 2, [A, B])] == pytest.approx([4.7 / 4, 0.0])
    [verdict] = as_verdicts(several, None, [PROMPT], [(A, B)], [None])  # type: ignore[arg-type]
    assert verdict.outcome is Outcome.A
    assert verdict.p_a == pytest.approx(1 / (1 + 2.718281828 ** -(4.7 / 4)))


def test_a_picture_without_a_score_has_none() -> None:
    assert [one.value for one in ensemble(Weighs(1.0), Weighs(1.0, silent=True)).score([PROMPT] * 2, [A, B])] == [100.0, None]
    with pytest.raises(UserError, match="takes two reward models or more, and has 1"):
        ensemble(Weighs(1.0))
