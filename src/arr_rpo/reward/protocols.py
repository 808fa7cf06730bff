"""Judging protocols: how a judge is asked about images, and how its answers become verdicts on pairs or grades of images.

Each is one published way of asking: about two images (`pair_protocols`) or about one (`point_protocols`). They differ in what
is asked and how often, never in who answers. What the judge could not answer, or could not be asked for want of a rubric, is
a failed verdict or a grade without value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from arr_rpo.judge.base import Judge, Pair, settle
from arr_rpo.types import Cost, CriterionCheck, Grade, Outcome, Prompt, Rubric, Verdict

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
    """Asks about one image at a time. tie_margin: difference of two grades, in [0, 1], within which a pair is a tie.

    It may have `p_better(a, b)`: the probability that the image graded a is preferred to the one graded b.
    """

    uses_rubric: bool
    tie_margin: float

    def grades(
        self, judge: Judge, prompts: Sequence[Prompt], images: Sequence[Image], rubrics: Sequence[Rubric | None]
    ) -> list[Grade]: ...


class Rubrics(Protocol):
    """Where rubrics of its own come from for a protocol; the sources of `rubric` are such."""

    def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]: ...


def as_verdicts(
    protocol: PairProtocol | PointProtocol,
    judge: Judge,
    prompts: Sequence[Prompt],
    pairs: Sequence[Pair],
    rubrics: Sequence[Rubric | None],
) -> list[Verdict]:
    """Verdicts on pairs by either kind of protocol.

    One that grades images prefers the higher grade, with P(A better) = (1 + grade of A - grade of B) / 2: a reading of the
    difference, not a calibrated probability, unless the protocol knows better (`p_better`). It is the same in both orders, as
    no order was asked. An image in several of these pairs of a prompt is graded once, at the cost of the first.
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
    p_better = getattr(protocol, "p_better", _difference)
    return [
        _preference(grades[a], grades[b], p_better, protocol.tie_margin, costs.pop(a, Cost()) + costs.pop(b, Cost()))
        for a, b in zip(sides[::2], sides[1::2], strict=True)
    ]


def _difference(a: float, b: float) -> float:
    """Of grades of 0 to 1; of others as far as it goes."""
    return min(1.0, max(0.0, (1 + a - b) / 2))


def _preference(a: Grade, b: Grade, p_better: Callable[[float, float], float], tie_margin: float, cost: Cost) -> Verdict:
    if a.value is None or b.value is None:
        failed = a if a.value is None else b
        return Verdict(Outcome.FAILED, None, cost=cost, reason=failed.reason, failure=failed.failure)
    of_b = {(name, question): p for name, question, p in b.checks}
    checks = tuple(
        CriterionCheck(name, question, p, of_b[name, question])
        for name, question, p in a.checks
        if (name, question) in of_b  # a dimension may apply to one image only
    )
    p_a = p_better(a.value, b.value)
    return settle(p_a, p_a, tie_margin / 2, checks, cost)
