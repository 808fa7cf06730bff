"""Protocols that ask about two images at once: one verdict a pair, one a criterion, or a plan and then a verdict."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from arr_rpo.judge.base import Judge, Pair, settle
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.rubric_reply import RubricError, parse_rubric
from arr_rpo.reward.gaps import Gaps
from arr_rpo.reward.protocols import NO_RUBRIC
from arr_rpo.types import Cost, Outcome, Prompt, Reason, Rubric, Verdict

EVEN = 0.02  # share of a rubric's weight within which its criteria, weighed, decide no pair: answers are not exactly yes or no


class Compare:
    """One A/B verdict a pair in each order: by the prompt's rubric (ARR, arXiv 2605.08354), or by the prompt alone (MT-Bench,
    arXiv 2306.05685, whose swap of the order this is).

    A judge is shown no weights. Where a rubric's differ, the verdict is the weighted mean of what the judge found of each
    criterion, as it was asked, in one reply.
    """

    def __init__(self, *, uses_rubric: bool) -> None:
        self.uses_rubric = uses_rubric

    def verdicts(
        self, judge: Judge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]
    ) -> list[Verdict]:
        if not self.uses_rubric:
            return judge.compare(prompts, pairs, [None] * len(pairs))
        return _compare_by(judge, prompts, pairs, [rubric or NoAnswer(Reason.NO_RUBRIC, NO_RUBRIC) for rubric in rubrics])


class Criteria:
    """One A/B verdict a criterion in each order, aggregated outside the judge (Branch-Solve-Merge, arXiv 2310.15123).

    aggregate: `mean`, the weighted mean of the criteria's probabilities that A is better, or `votes`, the weighted share of
        criteria that A wins, an undecided one counting half. Each order is aggregated by itself; then the two are settled.
    tie_margin: distance of the aggregate from one half within which a pair is a tie.

    gaps: what becomes of criteria without an answer.
    """

    uses_rubric = True

    def __init__(self, *, aggregate: Literal["mean", "votes"], tie_margin: float, gaps: Gaps) -> None:
        self.aggregate, self.tie_margin, self.gaps = aggregate, tie_margin, gaps

    def verdicts(
        self, judge: Judge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]
    ) -> list[Verdict]:
        asked = [(i, criterion) for i, rubric in enumerate(rubrics) if rubric for criterion in rubric.criteria]

        def ask(numbers: Sequence[int]) -> Sequence[Verdict]:
            rows = [asked[n][0] for n in numbers]
            alone = [Rubric((asked[n][1],)) for n in numbers]
            return judge.compare([prompts[i] for i in rows], [pairs[i] for i in rows], alone)

        by_pair: list[list[Verdict]] = [[] for _ in pairs]
        for (i, _), answer in zip(asked, self.gaps.answers(ask, len(asked)), strict=True):
            by_pair[i].append(answer)
        return [self._verdict(rubric, answers) for rubric, answers in zip(rubrics, by_pair, strict=True)]

    def _verdict(self, rubric: Rubric | None, answers: Sequence[Verdict]) -> Verdict:
        if rubric is None:
            return Verdict(Outcome.FAILED, None, reason=NO_RUBRIC, failure=Reason.NO_RUBRIC)
        cost = sum((answer.cost for answer in answers), Cost())
        asked = list(zip(rubric.criteria, answers, strict=True))
        if not self.gaps.bear(rubric, [answer.p_a is not None for answer in answers]):
            criterion, failed = next((c, a) for c, a in asked if a.p_a is None)
            reason = f"{criterion.question} {failed.reason}"
            return Verdict(Outcome.FAILED, None, cost=cost, reason=reason, failure=failed.failure)
        answered = [
            (criterion, answer.p_a_by_order or (answer.p_a, answer.p_a))
            for criterion, answer in asked
            if answer.p_a is not None
        ]
        orders = [by_order for _, by_order in answered]
        if self.aggregate == "votes":
            orders = [(_vote(first), _vote(second)) for first, second in orders]
        weights = [criterion.weight for criterion, _ in answered]
        first, second = (statistics.fmean(probabilities, weights) for probabilities in zip(*orders, strict=True))
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
        origin = {"writer": judge.name, "writer_revision": judge.revision, "role": "plan"}
        plans = [_plan(text, {**origin, "prompt": prompt.text}) for prompt, text in zip(prompts, texts, strict=True)]
        verdicts = _compare_by(judge, prompts, pairs, plans)
        return [_with_cost(verdict, planning if i == 0 else Cost()) for i, verdict in enumerate(verdicts)]


def _plan(text: str | NoAnswer, origin: Mapping[str, str]) -> Rubric | NoAnswer:
    """The checklist of a plan, or why there is none."""
    if isinstance(text, NoAnswer):
        return text.about("no plan: ")
    try:
        return parse_rubric(text, origin)
    except RubricError as error:
        return NoAnswer(error.reason, f"no plan: {error}")


def _compare_by(
    judge: Judge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | NoAnswer]
) -> list[Verdict]:
    """Verdicts by rubric; where there is none, the pair fails for the reason given."""
    known = {i: rubric for i, rubric in enumerate(rubrics) if isinstance(rubric, Rubric)}
    answers = iter(judge.compare([prompts[i] for i in known], [pairs[i] for i in known], list(known.values())))
    return [
        _weighed(next(answers), rubric)
        if isinstance(rubric, Rubric)
        else Verdict(Outcome.FAILED, None, reason=str(rubric), failure=rubric.reason)
        for rubric in rubrics
    ]


def _weighed(verdict: Verdict, rubric: Rubric) -> Verdict:
    """The verdict by the weights of the criteria, where these differ and the judge said what it found of each: each order by
    itself, then the two are settled."""
    weights = [criterion.weight for criterion in rubric.criteria]
    if verdict.p_a is None or len(set(weights)) == 1 or len(verdict.checks) != len(weights):
        return verdict
    leads = [check.leads or (check.a - check.b,) * 2 for check in verdict.checks]
    first, second = ((1 + statistics.fmean(order, weights)) / 2 for order in zip(*leads, strict=True))
    return settle(first, second, EVEN / 2, verdict.checks, verdict.cost)


def _vote(p: float) -> float:
    return 0.5 if p == 0.5 else float(p > 0.5)


def _with_cost(verdict: Verdict, more: Cost) -> Verdict:
    return dataclasses.replace(verdict, cost=verdict.cost + more)
