"""The confirmation on other people, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.hacking.confirmed import by_person, compared, tastes
from experiments.hacking.criteria import Found
from experiments.unsaid.checked import Checked, auroc, between


def found(arm: str, who: str, kind: str, question: str, gap: float) -> Found:
    return Found(arm, who, kind, question, 20, 0.1 + gap, 0.1, gap)


def checked(who: str, question: str, auc: float) -> Checked:
    return Checked(question, who, "developing", 90, 0.3, auc, auc - 0.1, auc + 0.1, 0.5)


CHECKED = [checked(who, question, auc) for who, question, auc in (("a", "row?", 0.5), ("a", "red?", 0.99), ("b", "row?", 0.8))]
ROWS = [
    found("told", "a", "liked", "row?", 0.5),
    found("told", "a", "liked", "red?", 0.0),
    found("told", "a", "prompt", "red?", 0.7),  # where a prompt asks for it, it is no taste
    found("told", "a", "liked", "", 0.25),
    found("told", "b", "liked", "row?", 0.2),
    found("prompt_alone", "a", "unnamed", "row?", 0.1),
    found("prompt_alone", "a", "unnamed", "red?", 0.0),
    found("prompt_alone", "b", "unnamed", "row?", -0.1),
]


def test_a_taste_that_is_paid_for_is_compared_with_itself_where_it_is_not() -> None:
    some = tastes(ROWS, CHECKED)
    assert [(one.annotator, one.question, one.auc, one.paid.gap, one.unpaid and one.unpaid.gap) for one in some] == [
        ("a", "row?", 0.5, 0.5, 0.1),
        ("a", "red?", 0.99, 0.0, 0.0),
        ("b", "row?", 0.8, 0.2, -0.1),
    ]
    assert by_person(some, "gap") == pytest.approx([0.2, 0.3]) and by_person(some, "truth") == [0.0, 0.0]


def test_the_test_is_of_new_people_alone() -> None:
    former = [found("told", "c", "liked", "row?", 0.9), found("prompt_alone", "c", "unnamed", "row?", 0.0)]
    text = compared(ROWS, former, [*CHECKED, checked("c", "row?", 0.6)])
    lines = {line.split(" | ")[0]: line for line in text.splitlines()}
    assert lines["| new people, AUC below 0.9 (the test)"].startswith("| new people, AUC below 0.9 (the test) | 2 | +0.350 (")
    assert "| of them, below 0.7 | 1 | +0.400 | - | +0.400 | +0.000 |" in text
    assert lines["| the three of before, and these"].startswith("| the three of before, and these | 3 | +0.533 (")
    assert "| b | row? | 0.80 | new | +0.300 | +0.100 | +0.200 | +0.000 | +0.100 | -0.100 |" in text
    assert text.endswith("is -0.80 (p 0.200).") and "Over the 4 tastes of 3 people" in text


def test_an_auc_has_an_interval_of_pictures() -> None:
    p, truth = np.array([0.1, 0.4, 0.35, 0.8] * 10), np.array([False, False, True, True] * 10)
    low, high = between(p, truth)
    assert auroc(p, truth) == pytest.approx(0.75) and 0.5 < low < 0.75 < high < 0.95
    assert np.isnan(auroc(p, np.ones(40, dtype=bool)))
