"""Every figure of the bench, from a script whose figures were worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr_rpo.evaluation.bench_figures import criterion_figures, figures
from arr_rpo.evaluation.bench_rows import Judged, JudgedCheck, from_json, to_json
from arr_rpo.evaluation.bootstrap import Figure, Resampling, share
from arr_rpo.types import Cost, CriterionCheck, Outcome, UserError, Verdict
from tests.evaluation.doubles import QUICK, SCRIPT, A, B, Pairs, ScriptedJudge

BY_HAND = {
    # seven pairs with a decided label: three right, one wrong, one flip, one tie, one failure
    "accuracy": (3 / 7, 7),
    "accuracy_decided": (3 / 4, 4),
    "accuracy_half": ((3 + 0.5 + 0.5) / 6, 6),
    # probabilities of the label's side, both orders averaged: .85 .75 .75 .15 .55 .525
    "accuracy_averaged": (5 / 6, 6),
    # P(A better), A first: .9 .2 .7 .8 .9 .55; second: .8 .3 .8 .9 .2 .5, the last being half right
    "accuracy_a_first": (5 / 6, 6),
    "accuracy_b_first": (3.5 / 6, 6),
    # the better image first: A-labelled as A first, B-labelled as A second
    "accuracy_better_first": (5 / 6, 6),
    "accuracy_better_second": (3.5 / 6, 6),
    "order_gap": (1.5 / 6, 6),
    "flip_rate": (1 / 9, 9),
    "tie_rate": (2 / 9, 9),
    "failure_rate": (1 / 9, 9),
    "tie_agreement": (1 / 2, 2),
    "calls": (2.0, 9),
    "tokens": (10.0, 9),
    "seconds": (0.5, 9),
    # tenths of P(A better): .25 (a B); .75 (an A); .85 and .85 (an A and a B); .55 and .525 (both A)
    "ece": ((abs(0 - 0.25) + abs(1 - 0.75) + 2 * abs(0.5 - 0.85) + 2 * abs(1 - 0.5375)) / 6, 6),
}


def judged() -> list[Judged]:
    pairs = list(Pairs(SCRIPT).open(range(len(SCRIPT))))
    verdicts = ScriptedJudge(SCRIPT).compare([p.prompt for p in pairs], [(p.a, p.b) for p in pairs], [None] * len(pairs))
    return [Judged.of(p, v, 0.5, Cost(), None) for p, v in zip(pairs, verdicts, strict=True)]


@pytest.mark.parametrize("name", BY_HAND)
def test_figures_by_hand(name: str) -> None:
    value, of = BY_HAND[name]
    figure = figures(judged(), QUICK, calibration_bins=10)[name]
    assert figure.value == pytest.approx(value, abs=1e-6)
    assert figure.of == of


def test_every_figure_is_checked() -> None:
    assert set(figures(judged(), QUICK, calibration_bins=10)) == set(BY_HAND)


def test_a_label_turned_with_its_pair_changes_nothing() -> None:
    """Exchanging A and B exchanges the orders, and no figure that does not name an order."""
    turned = []
    for j in judged():
        v = j.verdict
        flip = {A: B, B: A}
        orders = v.p_a_by_order and (1 - v.p_a_by_order[1], 1 - v.p_a_by_order[0])
        verdict = Verdict(flip.get(v.outcome, v.outcome), None if v.p_a is None else 1 - v.p_a, orders, cost=v.cost)
        turned.append(Judged(j.id, j.prompt_id, j.subset, flip.get(j.better, j.better), verdict, (), j.seconds, j.writing))
    one, other = (figures(some, QUICK, calibration_bins=10) for some in (judged(), turned))
    for name in set(one) - {"accuracy_a_first", "accuracy_b_first"}:
        assert one[name].value == pytest.approx(other[name].value, abs=1e-6), name
    assert one["accuracy_a_first"].value == other["accuracy_b_first"].value


def test_nothing_decided_is_no_figure() -> None:
    only_failed = [j for j in judged() if j.id == "failed"]
    found = figures(only_failed, QUICK, calibration_bins=10)
    assert found["accuracy"].value == 0.0  # a failure is not right
    for name in ("accuracy_decided", "accuracy_half", "accuracy_averaged", "order_gap", "ece", "tie_agreement"):
        assert found[name] == Figure(None, None, None, 0)


def check(name: str, a: float, b: float, truth_a: bool | None, truth_b: bool | None) -> JudgedCheck:
    return JudgedCheck(CriterionCheck(name, f"{name}?", a, b), truth_a, truth_b)


def test_criteria_by_hand() -> None:
    verdict = Verdict(A, 0.9, (0.9, 0.9))
    some = [
        Judged(
            "1", "p", "", A, verdict, (check("count", 0.9, 0.4, True, True), check("color", 0.5, 0.5, None, None)), 0, Cost()
        ),
        Judged(
            "2", "p", "", B, verdict, (check("count", 0.8, 0.3, False, False), check("count", 0.1, 0.6, False, True)), 0, Cost()
        ),
        Judged("3", "q", "", Outcome.TIE, verdict, (check("count", 0.9, 0.9, True, True),), 0, Cost()),
    ]
    found = criterion_figures(some, QUICK)
    # answers on single images: right, wrong | wrong, right, right, right | right, right
    assert found["count"]["accuracy"].value == pytest.approx(6 / 8)
    assert found["count"]["accuracy"].of == 3
    # of the labelled: for A, yes; for B, no and yes
    assert found["count"]["agreement"].value == pytest.approx(2 / 3)
    assert found["count"]["agreement"].of == 2
    assert found["color"] == {"accuracy": Figure(None, None, None, 0), "agreement": found["color"]["agreement"]}
    assert found["color"]["agreement"].value == 0.5


def test_intervals() -> None:
    """Percentile intervals of a mean of n coins: 1.96 sqrt(p (1 - p) / n) to either side."""
    how = Resampling(draws=2000, confidence=0.95, unit="pair", seed=1)
    coins = [1.0, 0.0] * 100
    figure = share(coins, [1.0] * 200, [str(i) for i in range(200)], how)
    assert figure.low is not None
    assert figure.high is not None
    assert (figure.value, figure.of) == (0.5, 200)
    half = 1.96 * np.sqrt(0.25 / 200)
    assert (figure.low, figure.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.015)
    assert figure == share(coins, [1.0] * 200, [str(i) for i in range(200)], how)  # seeded
    # twenty prompts of ten equal pairs each are worth twenty pairs
    clustered = share([1.0] * 100 + [0.0] * 100, [1.0] * 200, [str(i // 10) for i in range(200)], how)
    assert clustered.low is not None
    assert clustered.low == pytest.approx(0.5 - 1.96 * np.sqrt(0.25 / 20), abs=0.05)


def test_too_few_for_an_interval() -> None:
    assert share([1.0], [1.0], ["a"], QUICK) == Figure(1.0, None, None, 1)
    few = share([1.0, 0.0, 0.0], [1.0, 0.0, 0.0], ["a", "b", "c"], QUICK)  # a third of the draws miss the only pair
    assert few == Figure(1.0, None, None, 1)
    assert share([0.0, 0.0], [0.0, 0.0], ["a", "b"], QUICK) == Figure(None, None, None, 0)
    with pytest.raises(UserError, match="choose pair or prompt"):
        Resampling(draws=1, confidence=0.9, unit="image", seed=0)  # type: ignore[arg-type]


probability = st.floats(0, 1)


@given(
    st.builds(
        Judged,
        st.text(),
        st.text(),
        st.text(),
        st.sampled_from([A, B, Outcome.TIE]),
        st.builds(
            Verdict,
            st.sampled_from(list(Outcome)),
            st.none() | probability,
            st.none() | st.tuples(probability, probability),
            st.just(()),
            st.builds(Cost, st.integers(0, 9), st.integers(0, 9)),
            st.text(),
        ),
        st.just(()),
        probability,
        st.builds(Cost, st.integers(0, 9), st.integers(0, 9)),
    )
)
def test_a_record_comes_back_as_it_was(one: Judged) -> None:
    assert from_json(to_json(one)) == one
