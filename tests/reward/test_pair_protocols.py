"""Each way of asking about two pictures; expected values by hand."""

from __future__ import annotations

import pytest

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.reward.pair_protocols import Compare, Criteria, DeltaRubric
from arr_rpo.types import (
    Cost,
    CriterionCheck,
    Outcome,
    Reason,
    Rubric,
    Verdict,
)
from tests.reward.doubles import BOTH, FAILED, PLAN, PROMPT, RED, ROUND, STRICT, A, B, C, Scripted, said


def test_without_rubric_the_judge_is_shown_none() -> None:
    judge = Scripted({(): said(0.9, 0.9)})
    assert Compare(uses_rubric=False).verdicts(judge, [PROMPT], [(A, B)], [BOTH]) == [said(0.9, 0.9)]
    assert judge.rubrics == [None]


def test_with_rubric_a_prompt_without_one_fails_and_the_others_keep_their_places() -> None:
    judge = Scripted({("is it red?", "is it round?"): said(0.9, 0.9), ("is it red?",): said(0.1, 0.1)})
    got = Compare(uses_rubric=True).verdicts(judge, [PROMPT] * 3, [(A, B)] * 3, [BOTH, None, Rubric((RED,))])
    assert [v.outcome for v in got] == [Outcome.A, Outcome.FAILED, Outcome.B]
    assert (got[1].p_a, got[1].cost) == (None, Cost())
    assert "no rubric" in got[1].reason
    assert len(judge.rubrics) == 2


def criteria(red: Verdict, round_: Verdict, aggregate: str = "mean") -> tuple[Verdict, Scripted]:
    judge = Scripted({("is it red?",): red, ("is it round?",): round_})
    protocol = Criteria(aggregate=aggregate, tie_margin=0.1, gaps=STRICT)  # type: ignore[arg-type]
    return protocol.verdicts(judge, [PROMPT], [(A, B)], [BOTH])[0], judge


def test_criteria_are_averaged_by_weight_in_each_order() -> None:
    red, round_ = CriterionCheck("color", "is it red?", 0.9, 0.2), CriterionCheck("shape", "is it round?", 0.3, 0.4)
    verdict, judge = criteria(said(0.8, 0.8, red), said(0.4, 0.2, round_))
    assert verdict.p_a_by_order == pytest.approx((0.7, 0.65))  # (3 * 0.8 + 0.4) / 4, (3 * 0.8 + 0.2) / 4
    assert (verdict.outcome, verdict.p_a) == (Outcome.A, pytest.approx(0.675))
    assert verdict.checks == (red, round_)
    assert verdict.cost == Cost(4, 20)
    assert [r.criteria for r in judge.rubrics if r] == [(RED,), (ROUND,)]


def test_criteria_by_votes_count_who_wins_each() -> None:
    verdict, _ = criteria(said(0.51, 0.5), said(0.0, 0.0), aggregate="votes")
    assert verdict.p_a_by_order == (0.75, 0.375)  # 3 of 4 votes; half of 3 of 4
    assert verdict.outcome is Outcome.INCONSISTENT  # opposite opinions, both beyond the margin of 0.1
    mean, _ = criteria(said(0.51, 0.5), said(0.0, 0.0))
    assert mean.outcome is Outcome.B


@pytest.mark.parametrize(
    ("red", "round_", "outcome"),
    [
        (said(0.2, 0.2), said(0.9, 0.9), Outcome.B),  # 0.375 in both
        (said(0.6, 0.6), said(0.4, 0.4), Outcome.TIE),  # 0.55 in both
        (said(0.9, 0.1), said(0.9, 0.1), Outcome.INCONSISTENT),
    ],
)
def test_criteria_settle_like_any_verdict(red: Verdict, round_: Verdict, outcome: Outcome) -> None:
    assert criteria(red, round_)[0].outcome is outcome


def test_a_criterion_without_answer_fails_its_pair_at_what_it_cost() -> None:
    verdict, _ = criteria(said(0.9, 0.9), FAILED)
    assert (verdict.outcome, verdict.p_a, verdict.cost) == (Outcome.FAILED, None, Cost(4, 15))
    assert verdict.reason == "is it round? no answer"


def test_criteria_of_several_pairs_do_not_mix() -> None:
    judge = Scripted({("is it red?",): said(0.9, 0.9), ("is it round?",): said(0.1, 0.1)})
    protocol = Criteria(aggregate="mean", tie_margin=0.1, gaps=STRICT)
    got = protocol.verdicts(judge, [PROMPT] * 3, [(A, B), (B, C), (A, C)], [Rubric((ROUND,)), None, BOTH])
    assert [v.outcome for v in got] == [Outcome.B, Outcome.FAILED, Outcome.A]
    assert judge.pairs == [(A, B), (A, C), (A, C)]


def test_a_plan_becomes_the_rubric_of_both_orders() -> None:
    judge = Scripted({("is it large?",): said(0.2, 0.3)}, plans=[PLAN])
    (verdict,) = DeltaRubric().verdicts(judge, [PROMPT], [(A, B)], [BOTH])
    assert (verdict.outcome, verdict.cost) == (Outcome.B, Cost(3, 110))
    (rubric,) = judge.rubrics  # one call of `compare`, which asks in both orders
    assert rubric is not None
    assert rubric.provenance == {"writer": "scripted", "writer_revision": "7", "role": "plan", "prompt": "a red circle"}


@pytest.mark.parametrize(
    "text", ["", "Here is a checklist", PLAN[:-1], '{"criteria": []}', NoAnswer(Reason.UNREACHABLE, "the server is away")]
)
def test_a_plan_that_is_none_fails_its_pair_only(text: str | NoAnswer) -> None:
    judge = Scripted({("is it large?",): said(0.8, 0.8)}, plans=[text, PLAN])
    got = DeltaRubric().verdicts(judge, [PROMPT] * 2, [(A, B), (A, C)], [None, None])
    assert [v.outcome for v in got] == [Outcome.FAILED, Outcome.A]
    assert got[0].reason.startswith("no plan: the server is away" if isinstance(text, NoAnswer) else "no plan: ")
    assert got[0].cost + got[1].cost == Cost(2 + 2, 100 + 10)
    assert judge.pairs == [(A, C)]


def test_by_weights_too_a_verdict_that_the_order_decides_is_none() -> None:
    """The first picture meets the criteria, whichever it is; and where it does not decide, the orders stay apart."""
    asked = ("is it red?", "is it round?")

    def verdict(red: tuple[float, float], round_: tuple[float, float]) -> Verdict:
        checks = [
            CriterionCheck(n, q, *(0.5 + s * sum(leads) / 4 for s in (1, -1)), leads)
            for n, q, leads in (("color", asked[0], red), ("shape", asked[1], round_))
        ]
        return Compare(uses_rubric=True).verdicts(Scripted({asked: said(0.9, 0.9, *checks)}), [PROMPT], [(A, B)], [BOTH])[0]

    assert verdict((1.0, -1.0), (1.0, -1.0)).outcome is Outcome.INCONSISTENT
    decided = verdict((1.0, 0.6), (0.0, -1.0))  # red counts three times
    assert decided.outcome is Outcome.A
    assert decided.p_a_by_order == pytest.approx((0.875, 0.6))
