"""The protocol of a judge, and how two answers to a pair, one in each order, become a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from PIL.Image import Image

from arr_rpo.types import Cost, CriterionCheck, Outcome, Prompt, Rubric, Score, Verdict

Pair = tuple[Image, Image]


class Judge(Protocol):
    """Who answers. Frozen, and without a field for labels: what a judge is not shown it cannot leak."""

    name: str
    revision: str

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        """Which image of each pair is better, both orders asked, by the rubric where there is one."""

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Score]:
        """A grade of 1 to 5 for each image."""

    def check(self, images: Sequence[Image], questions: Sequence[str]) -> list[float | None]:
        """Probability that question i is to be answered yes on image i; None where the judge failed."""

    def write(self, prompts: Sequence[str]) -> tuple[list[str], Cost]:
        """A rubric for each prompt, as the text that came back."""

    def write_template(self) -> str:
        """Hash of the text that asks for a rubric."""


def settle(p_a_first: float, p_a_second: float, tie_margin: float, checks: tuple[CriterionCheck, ...], cost: Cost) -> Verdict:
    """The verdict from the probabilities that A is better when shown first and when shown second.

    Opposite opinions, each beyond `tie_margin` of one half, are INCONSISTENT: the order decided. Otherwise the average
    decides, and is a TIE within the margin.
    """
    by_order = (p_a_first, p_a_second)
    p_a = (p_a_first + p_a_second) / 2
    flipped = (p_a_first - 0.5) * (p_a_second - 0.5) < 0 and min(abs(p - 0.5) for p in by_order) > tie_margin
    if flipped:
        outcome = Outcome.INCONSISTENT
    elif abs(p_a - 0.5) <= tie_margin:
        outcome = Outcome.TIE
    else:
        outcome = Outcome.A if p_a > 0.5 else Outcome.B
    return Verdict(outcome, p_a, by_order, checks, cost)
