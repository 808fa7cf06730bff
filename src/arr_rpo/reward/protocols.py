"""Judging protocols: how a judge is asked about images, and how its answers become verdicts on pairs or grades of images.

Each is one published way of asking. They differ in what is asked and how often, never in who answers. What the judge could
not answer, or could not be asked for want of a rubric, is a failed verdict or a grade without value.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from arr_rpo.judge.base import Judge, Pair, settle
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.rubric.parse import RubricError, parse_rubric
from arr_rpo.types import Answer, Cost, CriterionCheck, Critique, Grade, Outcome, Prompt, Rubric, Verdict

if TYPE_CHECKING:
    from PIL.Image import Image

NO_RUBRIC = "the prompt has no rubric"


class PairProtocol(Protocol):
    """Asks about two images at once. All sequences have one length; rubrics are those of the prompts."""

    uses_rubric: bool

    def verdicts(
        self, judge: Judge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]
    ) -> list[Verdict]: ...


class PointProtocol(Protocol):
    """Asks about one image at a time. tie_margin: difference of two grades, in [0, 1], within which a pair is a tie."""

    uses_rubric: bool
    tie_margin: float

    def grades(
        self, judge: Judge, prompts: Sequence[Prompt], images: Sequence[Image], rubrics: Sequence[Rubric | None]
    ) -> list[Grade]: ...


class Rubrics(Protocol):
    """Where rubrics of its own come from for a protocol; the sources of `rubric` are such."""

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]: ...


class Compare:
    """One A/B verdict a pair in each order: by the prompt's rubric (ARR, arXiv 2605.08354), or by the prompt alone (MT-Bench,
    arXiv 2306.05685, whose swap of the order this is)."""

    def __init__(self, *, uses_rubric: bool) -> None:
        self.uses_rubric = uses_rubric

    def verdicts(
        self, judge: Judge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]
    ) -> list[Verdict]:
        if not self.uses_rubric:
            return judge.compare(prompts, pairs, [None] * len(pairs))
        return _compare_by(judge, prompts, pairs, rubrics, [NO_RUBRIC] * len(pairs))


class Criteria:
    """One A/B verdict a criterion in each order, aggregated outside the judge (Branch-Solve-Merge, arXiv 2310.15123).

    aggregate: `mean`, the weighted mean of the criteria's probabilities that A is better, or `votes`, the weighted share of
        criteria that A wins, an undecided one counting half. Each order is aggregated by itself; then the two are settled.
    tie_margin: distance of the aggregate from one half within which a pair is a tie.

    A criterion without an answer fails the pair: a mean over the others would let failures decide.
    """

    uses_rubric = True

    def __init__(self, *, aggregate: Literal["mean", "votes"], tie_margin: float) -> None:
        self.aggregate, self.tie_margin = aggregate, tie_margin

    def verdicts(
        self, judge: Judge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]
    ) -> list[Verdict]:
        asked = [(i, criterion) for i, rubric in enumerate(rubrics) if rubric for criterion in rubric.criteria]
        answers = judge.compare(
            [prompts[i] for i, _ in asked], [pairs[i] for i, _ in asked], [Rubric((criterion,)) for _, criterion in asked]
        )
        by_pair: list[list[Verdict]] = [[] for _ in pairs]
        for (i, _), answer in zip(asked, answers, strict=True):
            by_pair[i].append(answer)
        return [self._verdict(rubric, answers) for rubric, answers in zip(rubrics, by_pair, strict=True)]

    def _verdict(self, rubric: Rubric | None, answers: Sequence[Verdict]) -> Verdict:
        if rubric is None:
            return Verdict(Outcome.FAILED, None, reason=NO_RUBRIC)
        cost = sum((answer.cost for answer in answers), Cost())
        orders: list[tuple[float, float]] = []
        for criterion, answer in zip(rubric.criteria, answers, strict=True):
            if answer.p_a is None:
                return Verdict(Outcome.FAILED, None, cost=cost, reason=f"{criterion.question} {answer.reason}")
            orders.append(answer.p_a_by_order or (answer.p_a, answer.p_a))
        if self.aggregate == "votes":
            orders = [(_vote(first), _vote(second)) for first, second in orders]
        weights = [criterion.weight for criterion in rubric.criteria]
        first, second = (_mean(probabilities, weights) for probabilities in zip(*orders, strict=True))
        return settle(first, second, self.tie_margin, tuple(c for answer in answers for c in answer.checks), cost)


class DeltaRubric:
    """The judge first writes a neutral checklist of what the two images disagree on, then judges the pair by it, one
    checklist for both orders (DeltaRubric, arXiv 2605.09269).

    The planner is shown no label, and a plan that is no rubric fails the pair.
    """

    uses_rubric = False

    def verdicts(
        self, judge: Judge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]
    ) -> list[Verdict]:
        texts, planning = judge.plan(prompts, pairs)
        plans: list[Rubric | None] = []
        reasons = []
        for prompt, text in zip(prompts, texts, strict=True):
            origin = {"writer": judge.name, "writer_revision": judge.revision, "role": "plan", "prompt": prompt.text}
            plan, reason = _plan(text, origin)
            plans.append(plan)
            reasons.append(reason)
        verdicts = _compare_by(judge, prompts, pairs, plans, reasons)
        return [_with_cost(verdict, planning if i == 0 else Cost()) for i, verdict in enumerate(verdicts)]


def _plan(text: str | NoAnswer, origin: Mapping[str, str]) -> tuple[Rubric | None, str]:
    """The checklist of a plan, or None and why."""
    if isinstance(text, NoAnswer):
        return None, f"no plan: {text}"
    try:
        return parse_rubric(text, origin), ""
    except RubricError as error:
        return None, f"no plan: {error}"


class Score:
    """One grade of 1 to 5 an image, without rubric, by its expected value (the VIEScore family, arXiv 2312.14867)."""

    uses_rubric = False

    def __init__(self, *, tie_margin: float) -> None:
        self.tie_margin = tie_margin

    def grades(
        self, judge: Judge, prompts: Sequence[Prompt], images: Sequence[Image], rubrics: Sequence[Rubric | None]
    ) -> list[Grade]:
        return [
            Grade(None if score.value is None else (score.value - 1) / 4, (), score.cost, score.reason)
            for score in judge.score(prompts, images)
        ]


class Checklist:
    """A yes/no question a criterion and image, each asked by itself (RubricRL, arXiv 2511.20651, which takes the mean).

    gate: `mean`, the weighted mean of the probabilities of yes, or `all`, their product: the probability that every
        criterion is met, as far as criteria are independent (GenEval, arXiv 2310.11513, counts a picture so). A gate has no
        use for weights; unlike the minimum, the product still rewards an image for mending any of its faults.
    fixed: where the criteria come from instead of the prompt's rubric; None takes that. Five for all prompts are Themis's idea.

    A criterion without an answer leaves the image without a grade.
    """

    def __init__(self, *, gate: Literal["mean", "all"], fixed: Rubrics | None, tie_margin: float) -> None:
        self.gate, self.fixed, self.tie_margin = gate, fixed, tie_margin
        self.uses_rubric = fixed is None

    def grades(
        self, judge: Judge, prompts: Sequence[Prompt], images: Sequence[Image], rubrics: Sequence[Rubric | None]
    ) -> list[Grade]:
        lists = self.fixed.rubrics(prompts, judge) if self.fixed else rubrics
        asked = [(i, criterion.question) for i, rubric in enumerate(lists) if rubric for criterion in rubric.criteria]
        answers = iter(judge.check([prompts[i] for i, _ in asked], [images[i] for i, _ in asked], [q for _, q in asked]))
        return [self._grade(rubric, [next(answers) for _ in rubric.criteria] if rubric else []) for rubric in lists]

    def _grade(self, rubric: Rubric | None, answers: Sequence[Answer]) -> Grade:
        if rubric is None:
            return Grade(None, reason=NO_RUBRIC)
        cost = sum((answer.cost for answer in answers), Cost())
        checks = []
        for criterion, answer in zip(rubric.criteria, answers, strict=True):
            if answer.p_yes is None:
                return Grade(None, (), cost, f"{criterion.question} {answer.reason}")
            checks.append((criterion.name, criterion.question, answer.p_yes))
        probabilities = [p for *_, p in checks]
        value = math.prod(probabilities) if self.gate == "all" else _mean(probabilities, [c.weight for c in rubric.criteria])
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
            return Grade(None, (), critique.cost, critique.reason)
        graded = [(name, (grade - 1) / 3) for name, grade in critique.dimensions.items() if grade is not None]
        if self.value == "mean" and not graded:
            return Grade(None, (), critique.cost, f"no dimension applies: {critique.text}")
        value = (critique.value - 1) / 3 if self.value == "overall" else sum(p for _, p in graded) / len(graded)
        return Grade(value, tuple((name, name, p) for name, p in graded), critique.cost, critique.text)


def as_verdicts(
    protocol: PairProtocol | PointProtocol,
    judge: Judge,
    prompts: Sequence[Prompt],
    pairs: Sequence[Pair],
    rubrics: Sequence[Rubric | None],
) -> list[Verdict]:
    """Verdicts on pairs by either kind of protocol.

    One that grades images prefers the higher grade, with P(A better) = (1 + grade of A - grade of B) / 2: a reading of the
    difference, not a calibrated probability, and the same in both orders, as no order was asked. An image in several pairs
    of a prompt is graded once, at the cost of the first.
    """
    if hasattr(protocol, "verdicts"):
        return protocol.verdicts(judge, prompts, pairs, rubrics)
    rows: dict[tuple[int, int, int], int] = {}  # of each image that is to be graded, in `asked`
    asked: list[tuple[Prompt, Image, Rubric | None]] = []
    sides: list[int] = []  # rows of A and B in turn
    for prompt, pair, rubric in zip(prompts, pairs, rubrics, strict=True):
        for image in pair:
            row = rows.setdefault((id(prompt), id(image), id(rubric)), len(rows))
            asked += [(prompt, image, rubric)] if row == len(asked) else []
            sides.append(row)
    grades = protocol.grades(judge, [p for p, _, _ in asked], [i for _, i, _ in asked], [r for _, _, r in asked])
    costs = {row: grade.cost for row, grade in enumerate(grades)}
    return [
        _preference(grades[a], grades[b], protocol.tie_margin, costs.pop(a, Cost()) + costs.pop(b, Cost()))
        for a, b in zip(sides[::2], sides[1::2], strict=True)
    ]


def _preference(a: Grade, b: Grade, tie_margin: float, cost: Cost) -> Verdict:
    if a.value is None or b.value is None:
        return Verdict(Outcome.FAILED, None, cost=cost, reason=a.reason if a.value is None else b.reason)
    of_b = {(name, question): p for name, question, p in b.checks}
    checks = tuple(
        CriterionCheck(name, question, p, of_b[name, question])
        for name, question, p in a.checks
        if (name, question) in of_b  # a dimension may apply to one image only
    )
    p_a = (1 + a.value - b.value) / 2
    return settle(p_a, p_a, tie_margin / 2, checks, cost)


def _compare_by(
    judge: Judge,
    prompts: Sequence[Prompt],
    pairs: Sequence[Pair],
    rubrics: Sequence[Rubric | None],
    reasons: Sequence[str],
) -> list[Verdict]:
    """Verdicts by rubric; where there is none, the pair fails for the reason given."""
    rows = [i for i, rubric in enumerate(rubrics) if rubric is not None]
    answers = iter(judge.compare([prompts[i] for i in rows], [pairs[i] for i in rows], [rubrics[i] for i in rows]))
    return [
        Verdict(Outcome.FAILED, None, reason=reason) if rubric is None else next(answers)
        for rubric, reason in zip(rubrics, reasons, strict=True)
    ]


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _vote(p: float) -> float:
    return 0.5 if p == 0.5 else float(p > 0.5)


def _with_cost(verdict: Verdict, more: Cost) -> Verdict:
    return dataclasses.replace(verdict, cost=verdict.cost + more)
