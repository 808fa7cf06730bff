"""Whether a rubric alone lets a judge recover what people prefer: on the pair it was written from, and on others.

The judge is asked through `Judge.compare`, which has no field for labels; the labels are compared with its verdicts here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from arr_rpo.judge.base import Judge
from arr_rpo.types import Cost, Outcome, Preference, Rubric, Verdict

LEAST_ANSWERED = 0.5  # share of the held-out pairs, below which a share of the answered ones says nothing


@dataclass(frozen=True)
class Rule:
    """When a rubric has passed.

    both_orders: whether the preference must be recovered whichever image is shown first. If not, the first order counts alone,
        as in the code that came with ARR (arXiv 2605.08354): "the first image is better" then explains every pair whose A is
        preferred.
    min_heldout: share of the answered held-out pairs that must be recovered; beyond 0, a rubric does not pass of which
        fewer than half of them have an answer.
    """

    both_orders: bool
    min_heldout: float


@dataclass(frozen=True)
class Verification:
    """verdicts: one a pair, that of the writing pair first. answered: the indices of those that did not fail.
    missed: the answered ones that did not recover the preference. told: the first pairs, which are not held out.
    open: whether it passed, or might have if every verdict had come: a failure to answer is no miss.
    """

    verdicts: tuple[Verdict, ...]
    answered: tuple[int, ...]
    missed: tuple[int, ...]
    passed: bool
    told: int = 1
    open: bool = False

    @property
    def heldout(self) -> tuple[int, ...]:
        """The answered ones of which the writer was told nothing."""
        return tuple(i for i in self.answered if i >= self.told)

    @property
    def heldout_accuracy(self) -> float | None:
        """Share recovered of those; None without any."""
        return sum(i not in self.missed for i in self.heldout) / len(self.heldout) if self.heldout else None

    @property
    def cost(self) -> Cost:
        return sum((verdict.cost for verdict in self.verdicts), Cost())


def verify_all(
    judge: Judge, rubrics: Sequence[Rubric], pairs: Sequence[Sequence[Preference]], rule: Rule, told: Sequence[int] = ()
) -> list[Verification]:
    """Has each rubric tried on its pairs, of which the first is the one it was written from.

    told: for each rubric, of how many of its pairs, the first ones, its writer may be told the preference; the others are
    held out. Without it, that is the first pair alone.
    """
    asked = [(rubric, pair) for rubric, some in zip(rubrics, pairs, strict=True) for pair in some]
    verdicts = iter(
        judge.compare([p.prompt for _, p in asked], [(p.a, p.b) for _, p in asked], [rubric for rubric, _ in asked])
        if asked
        else []
    )
    known = told or [1] * len(pairs)
    return [
        judged([next(verdicts) for _ in some], [p.better for p in some], rule, n) for some, n in zip(pairs, known, strict=True)
    ]


def judged(verdicts: Sequence[Verdict], better: Sequence[Outcome], rule: Rule, told: int = 1) -> Verification:
    """The verification that verdicts amount to. A verdict that failed is neither recovered nor missed."""
    answered = tuple(i for i, verdict in enumerate(verdicts) if verdict.outcome is not Outcome.FAILED)
    missed = tuple(i for i in answered if not recovered(verdicts[i], better[i], both_orders=rule.both_orders))
    found = Verification(tuple(verdicts), answered, missed, False, told)
    return replace(found, passed=_passes(found, rule), open=_passes(_at_best(found), rule))


def _passes(found: Verification, rule: Rule) -> bool:
    tests = len(found.verdicts) - found.told
    enough = rule.min_heldout <= 0 or len(found.heldout) >= LEAST_ANSWERED * tests
    return enough and 0 in found.answered and 0 not in found.missed and (found.heldout_accuracy or 0.0) >= rule.min_heldout


def _at_best(found: Verification) -> Verification:
    """The verification if every verdict that failed had recovered the preference."""
    return replace(found, answered=tuple(range(len(found.verdicts))))


def recovered(verdict: Verdict, better: Outcome, *, both_orders: bool) -> bool:
    """Whether a verdict names the preferred image. A tie or a flip does not, nor an average of which one order disagrees."""
    by_order = verdict.p_a_by_order
    if by_order is None:
        return verdict.outcome is better
    towards = [p if better is Outcome.A else 1 - p for p in by_order]
    if not both_orders:
        return towards[0] > 0.5
    return verdict.outcome is better and min(towards) > 0.5
