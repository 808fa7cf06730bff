"""How often a reward and gold call a pair otherwise."""

from __future__ import annotations

import pytest

from arr_rpo.types import Outcome, Prompt, UserError
from experiments.hacking.decompose import ROWS, gap, of_the_same_kinds, table

A, B, TIE, FAILED = Outcome.A, Outcome.B, Outcome.TIE, Outcome.FAILED


def test_a_tie_against_a_decision_is_half_a_difference() -> None:
    assert gap([A, B, TIE, TIE], [A, A, TIE, B]) == pytest.approx((0 + 1 + 0 + 0.5) / 4)
    assert gap([A, FAILED], [A, B]) == 0
    with pytest.raises(UserError, match="no verdict was given"):
        gap([FAILED], [A])


def test_the_table_is_of_differences_within_runs() -> None:
    runs = [dict.fromkeys(ROWS, 0.3) | {"reward": 0.2}, dict.fromkeys(ROWS, 0.5) | {"reward": 0.4}]
    first, exact = (line for line in table(runs).splitlines() if line.startswith(("| the reward", "| its criteria")))
    assert first.endswith("| 0.300 | - | - |")
    assert exact.endswith("| 0.400 | +0.100 | +0.100 to +0.100 |")


def test_training_prompts_are_of_the_kinds_of_the_others() -> None:
    def prompts(*tags: str) -> list[Prompt]:
        return [Prompt(f"{n}", tag, {"tag": tag}) for n, tag in enumerate(tags)]

    some = prompts(*["a"] * 10, *["b"] * 2, *["c"] * 5)
    assert [p.text for p in of_the_same_kinds(some, prompts("a", "b", "b", "b", "a"))] == ["a", "a", "b", "b"]
