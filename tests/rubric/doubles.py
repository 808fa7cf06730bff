"""Judges and writers of the tests: scripted, and biased in ways that real ones are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from arr_rpo.judge.base import Explaining, Pair, settle
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.rubric.auto_rubric import Settings
from arr_rpo.rubric.verify import Rule
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.world.scene import draw, place
from arr_rpo.types import Cost, Criterion, Outcome, Preference, Prompt, Reason, Rubric, Verdict

Opinion = Callable[[Rubric, Image, Image], float]  # probability that the image shown first is better
ORACLE = OracleJudge()
GONE = NoAnswer(Reason.UNREACHABLE, "the server is away")
STRICT = Rule(both_orders=True, min_heldout=1.0)


class ScriptedWriter:
    """Replies in turn from lists, one list a role; keeps what it was asked."""

    name, revision = "scripted", "1"

    def __init__(self, **replies: Sequence[str | NoAnswer]) -> None:
        self._replies = {role: list(texts) for role, texts in replies.items()}
        self.asked: list[tuple[str, Any]] = []

    def _next(self, role: str, items: Sequence[Any]) -> tuple[list[str | NoAnswer], Cost]:
        self.asked += [(role, item) for item in items]
        return [self._replies[role].pop(0) for _ in items], Cost(len(items), 10 * len(items))

    def write(self, prompts: Sequence[Prompt]) -> tuple[list[str | NoAnswer], Cost]:
        return self._next("write", prompts)

    def write_from_pairs(self, pairs: Sequence[Preference], *, role: Explaining) -> tuple[list[str | NoAnswer], Cost]:
        return self._next(role, pairs)

    def refine(
        self, pairs: Sequence[Preference], rubrics: Sequence[Rubric], verdicts: Sequence[Verdict]
    ) -> tuple[list[str | NoAnswer], Cost]:
        return self._next("refine", list(zip(pairs, rubrics, verdicts, strict=True)))

    def structure(self, criteria: Sequence[Sequence[Criterion]]) -> tuple[list[str | NoAnswer], Cost]:
        return self._next("structure", criteria)

    def template(self, role: str) -> str:
        return f"text of {role}"


class ScriptedJudge:
    """Says of two images, in the order shown, what `opinion` says; both orders are asked."""

    name, revision = "scripted", "1"

    def __init__(self, opinion: Opinion, writer: Any = None) -> None:
        self.opinion, self.writer, self.asked = opinion, writer, 0

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        verdicts = []
        for (a, b), rubric in zip(pairs, rubrics, strict=True):
            assert rubric is not None
            self.asked += 1
            first, second = self.opinion(rubric, a, b), 1 - self.opinion(rubric, b, a)
            if np.isnan(first):
                verdicts.append(Verdict(Outcome.FAILED, None, cost=Cost(2, 20), reason="unheard"))
            else:
                verdicts.append(settle(first, second, 0.1, (), Cost(2, 20)))
        return verdicts


def settings(max_refinements: int = 2, structure: bool = False, max_criteria: int = 8, rule: Rule = STRICT) -> Settings:
    return Settings(rule, max_refinements, max_criteria, structure)


def reply(*questions: str) -> str:
    entries = ", ".join(f'{{"name": "n", "question": "{question}"}}' for question in questions)
    return f'{{"criteria": [{entries}]}}'


def rubric_of(*questions: str) -> Rubric:
    return Rubric(tuple(Criterion("n", question) for question in questions))


def picture(*kinds: str, seed: int = 0) -> Image:
    """ "red circle" and so on, in the cells from the upper left."""
    pairs = [tuple(kind.split()) for kind in kinds]
    return draw(place(pairs, range(len(pairs)), np.random.default_rng(seed)))  # type: ignore[arg-type]


def preference(name: str, prompt: Prompt, a: Image, b: Image, better: str) -> Preference:
    return Preference(name, prompt, a, b, Outcome(better))


def indifferent(rubric: Rubric, first: Image, second: Image) -> float:
    return 0.5


def questions(rubrics: Sequence[Rubric | None]) -> list[list[str] | None]:
    return [[c.question for c in rubric.criteria] if rubric else None for rubric in rubrics]
