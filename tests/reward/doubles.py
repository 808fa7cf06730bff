"""A judge that says what it is told to, and what it is asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.reward.gaps import Gaps
from arr_rpo.types import (
    Answer,
    Cost,
    Criterion,
    CriterionCheck,
    Critique,
    Outcome,
    Prompt,
    Rubric,
    Verdict,
)

STRICT = Gaps(ask_again=0, min_answered=1.0)

PROMPT = Prompt("p", "a red circle")
RED, ROUND = Criterion("color", "is it red?", 3.0), Criterion("shape", "is it round?", 1.0)
BOTH = Rubric((RED, ROUND))
PLAN = '{"criteria": [{"name": "size", "question": "is it large?"}]}'
A, B, C = (Image.new("RGB", (2, 2), (level, 0, 0)) for level in (1, 2, 3))
FAILED = Verdict(Outcome.FAILED, None, cost=Cost(2, 5), reason="no answer")


def said(first: float, second: float, *checks: CriterionCheck) -> Verdict:
    """A verdict of which protocols read the probabilities only."""
    p_a = (first + second) / 2
    return Verdict(Outcome.A if p_a > 0.5 else Outcome.B, p_a, (first, second), checks, Cost(2, 10))


class Scripted:
    """verdicts: by the questions of the rubric; answers: by picture (its red level) and question."""

    name, revision = "scripted", "7"

    def __init__(
        self,
        verdicts: Mapping[tuple[str, ...], Verdict] | None = None,
        answers: Mapping[tuple[int, str], float | None] | None = None,
        scores: Sequence[Answer] = (),
        critiques: Sequence[Critique] = (),
        plans: Sequence[str | NoAnswer] = (),
    ) -> None:
        self.verdicts, self.answers = verdicts or {}, answers or {}
        self.scores, self.critiques, self.plans = list(scores), list(critiques), list(plans)
        self.rubrics: list[Rubric | None] = []
        self.pairs: list[object] = []
        self.questions: list[tuple[int, str]] = []
        self.asked_in: list[list[str]] = []  # dimensions

    def compare(self, prompts, pairs, rubrics):  # type: ignore[no-untyped-def]
        self.rubrics += rubrics
        self.pairs += pairs
        return [self.verdicts[tuple(c.question for c in r.criteria) if r else ()] for r in rubrics]

    def check(self, prompts, images, questions):  # type: ignore[no-untyped-def]
        asked = [(image.getpixel((0, 0))[0], q) for image, q in zip(images, questions, strict=True)]
        self.questions += asked
        found = [self.answers[key] for key in asked]
        return [Answer(p, Cost(1, 4), "" if p is not None else "mumbled") for p in found]

    def score(self, prompts, images):  # type: ignore[no-untyped-def]
        return [self.scores.pop(0) for _ in images]

    def critique(self, prompts, images, dimensions):  # type: ignore[no-untyped-def]
        self.asked_in.append(list(dimensions))
        return [self.critiques.pop(0) for _ in images]

    def plan(self, prompts, pairs):  # type: ignore[no-untyped-def]
        return self.plans, Cost(len(pairs), 100)
