"""Protocols that ask about one image at a time: a grade, a checklist, a critique before the grades."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from arr_rpo.judge.base import Judge
from arr_rpo.reward.gaps import Gaps
from arr_rpo.reward.protocols import NO_RUBRIC, Rubrics
from arr_rpo.types import Answer, Cost, Critique, Grade, Prompt, Reason, Rubric

if TYPE_CHECKING:
    from PIL.Image import Image


class Score:
    """One grade of 1 to 5 an image, without rubric, by its expected value (the VIEScore family, arXiv 2312.14867)."""

    uses_rubric = False

    def __init__(self, *, tie_margin: float) -> None:
        self.tie_margin = tie_margin

    def grades(
        self, judge: Judge, prompts: Sequence[Prompt], images: Sequence[Image], rubrics: Sequence[Rubric | None]
    ) -> list[Grade]:
        return [
            Grade(None if score.value is None else (score.value - 1) / 4, (), score.cost, score.reason, score.failure)
            for score in judge.score(prompts, images)
        ]


class Checklist:
    """A yes/no question a criterion and image, each asked by itself (RubricRL, arXiv 2511.20651, which takes the mean).

    gate: `mean`, the weighted mean of the probabilities of yes, or `all`, their product: the probability that every
        criterion is met, as far as criteria are independent (GenEval, arXiv 2310.11513, counts a picture so). A gate has no
        use for weights; unlike the minimum, the product still rewards an image for mending any of its faults.
    fixed: where the criteria come from instead of the prompt's rubric; None takes that. Five for all prompts are Themis's idea.

    gaps: what becomes of criteria without an answer.
    """

    def __init__(self, *, gate: Literal["mean", "all"], fixed: Rubrics | None, tie_margin: float, gaps: Gaps) -> None:
        self.gate, self.fixed, self.tie_margin, self.gaps = gate, fixed, tie_margin, gaps
        self.uses_rubric = fixed is None

    def grades(
        self, judge: Judge, prompts: Sequence[Prompt], images: Sequence[Image], rubrics: Sequence[Rubric | None]
    ) -> list[Grade]:
        lists = self.fixed.rubrics(prompts, judge) if self.fixed else rubrics
        asked = [(i, criterion.question) for i, rubric in enumerate(lists) if rubric for criterion in rubric.criteria]

        def ask(numbers: Sequence[int]) -> Sequence[Answer]:
            rows, questions = zip(*(asked[n] for n in numbers), strict=True) if numbers else ((), ())
            return judge.check([prompts[i] for i in rows], [images[i] for i in rows], questions)

        answers = iter(self.gaps.answers(ask, len(asked)))
        return [self._grade(rubric, [next(answers) for _ in rubric.criteria] if rubric else []) for rubric in lists]

    def _grade(self, rubric: Rubric | None, answers: Sequence[Answer]) -> Grade:
        if rubric is None:
            return Grade(None, reason=NO_RUBRIC, failure=Reason.NO_RUBRIC)
        cost = sum((answer.cost for answer in answers), Cost())
        asked = list(zip(rubric.criteria, answers, strict=True))
        answered = [(criterion, answer.value) for criterion, answer in asked if answer.value is not None]
        if not self.gaps.bear(rubric, [answer.value is not None for answer in answers]):
            criterion, failed = next((c, a) for c, a in asked if a.value is None)
            return Grade(None, (), cost, f"{criterion.question} {failed.reason}", failed.failure)
        checks = [(criterion.name, criterion.question, p) for criterion, p in answered]
        probabilities, weights = [p for _, p in answered], [criterion.weight for criterion, _ in answered]
        value = math.prod(probabilities) if self.gate == "all" else statistics.fmean(probabilities, weights)
        return Grade(value, tuple(checks), cost)


class Rational:
    """A critique in words and named dimensions first, then grades of 1 to 4, scaled (RationalRewards, arXiv 2604.11626).

    dimensions: of pictures, in the judge's words; one that does not apply to an image (NA) is left out of its grade.
    edit_dimensions: of edits, which are prompts with a source.
    value: `overall`, the overall grade, or `mean`, that of the dimensions that apply.
    """

    uses_rubric = False

    def __init__(
        self,
        *,
        dimensions: Sequence[str],
        edit_dimensions: Sequence[str],
        value: Literal["overall", "mean"],
        tie_margin: float,
    ) -> None:
        self.dimensions, self.edit_dimensions = list(dimensions), list(edit_dimensions)
        self.value, self.tie_margin = value, tie_margin

    def grades(
        self, judge: Judge, prompts: Sequence[Prompt], images: Sequence[Image], rubrics: Sequence[Rubric | None]
    ) -> list[Grade]:
        grades: dict[int, Grade] = {}
        for edits, dimensions in ((False, self.dimensions), (True, self.edit_dimensions)):
            rows = [i for i, prompt in enumerate(prompts) if (prompt.source is not None) == edits]
            critiques = judge.critique([prompts[i] for i in rows], [images[i] for i in rows], dimensions) if rows else []
            grades |= {i: self._grade(critique) for i, critique in zip(rows, critiques, strict=True)}
        return [grades[i] for i in range(len(prompts))]

    def _grade(self, critique: Critique) -> Grade:
        if critique.value is None:
            return Grade(None, (), critique.cost, critique.reason, critique.failure)
        graded = [(name, (grade - 1) / 3) for name, grade in critique.dimensions.items() if grade is not None]
        if self.value == "mean" and not graded:
            return Grade(None, (), critique.cost, f"no dimension applies: {critique.text}", Reason.NOT_APPLICABLE)
        value = (critique.value - 1) / 3 if self.value == "overall" else sum(p for _, p in graded) / len(graded)
        return Grade(value, tuple((name, name, p) for name, p in graded), critique.cost, critique.text)
