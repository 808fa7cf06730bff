"""Criteria without an answer: asked again, and then done without where enough of the others are answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from arr_rpo.judge.reasons import MAY_COME
from arr_rpo.types import Answer, Rubric, UserError, Verdict

A = TypeVar("A", Answer, Verdict)


@dataclasses.dataclass(frozen=True)
class Gaps:
    """ask_again: how often what has no answer is asked once more, where another attempt may have one.

    min_answered: share of a rubric's weight that the answered criteria must hold for a grade or a verdict by them alone; with
    1, one criterion without an answer leaves none.
    """

    ask_again: int
    min_answered: float

    def __post_init__(self) -> None:
        if self.ask_again < 0 or not 0 < self.min_answered <= 1:
            raise UserError(
                f"reward.protocol.gaps: ask_again={self.ask_again} must be 0 or more, and min_answered={self.min_answered} "
                "a share above 0"
            )

    def answers(self, ask: Callable[[Sequence[int]], Sequence[A]], count: int) -> list[A]:
        """The answers to `count` questions, of which `ask` is given the numbers. What an attempt cost stays counted."""
        found = list(ask(range(count)))
        for _ in range(self.ask_again):
            missing = [i for i, answer in enumerate(found) if answer.failure in MAY_COME]
            if not missing:
                break
            for i, answer in zip(missing, ask(missing), strict=True):
                found[i] = dataclasses.replace(answer, cost=found[i].cost + answer.cost)
        return found

    def bear(self, rubric: Rubric, answered: Sequence[bool]) -> bool:
        """Whether what is answered of a rubric is enough."""
        held = sum(c.weight for c, there in zip(rubric.criteria, answered, strict=True) if there)
        return held >= self.min_answered * sum(c.weight for c in rubric.criteria)
