"""Judges and pairs made up for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from PIL import Image

from arr_rpo.evaluation.bootstrap import Resampling
from arr_rpo.judge.base import Pair, settle
from arr_rpo.types import Cost, CriterionCheck, Outcome, Preference, Prompt, Reason, Rubric, Verdict

QUICK = Resampling(draws=50, confidence=0.95, unit="pair", seed=0)
A, B, TIE = Outcome.A, Outcome.B, Outcome.TIE

# id -> label, and the probability that A is better with A shown first and second (None: the judge fails)
SCRIPT: dict[str, tuple[Outcome, tuple[float, float] | None]] = {
    "right 1": (A, (0.9, 0.8)),
    "right 2": (B, (0.2, 0.3)),
    "right 3": (A, (0.7, 0.8)),
    "wrong": (B, (0.8, 0.9)),
    "flip": (A, (0.9, 0.2)),
    "tie": (A, (0.55, 0.5)),
    "failed": (B, None),
    "both tie": (TIE, (0.5, 0.5)),
    "labelled tie": (TIE, (0.9, 0.9)),
}


class Pairs:
    """Pairs of the script, one a prompt."""

    truth = None

    def __init__(self, script: dict[str, tuple[Outcome, tuple[float, float] | None]]) -> None:
        self.ids = tuple(script)
        self.left_out: dict[str, int] = {}
        blank = Image.new("RGB", (2, 2))
        self._pairs = [
            Preference(name, Prompt(name, f"prompt of {name}"), blank, blank.copy(), label, subset="odd" if i % 2 else "even")
            for i, (name, (label, _)) in enumerate(script.items())
        ]

    def __len__(self) -> int:
        return len(self._pairs)

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        return (self._pairs[i] for i in indices)


class ScriptedJudge:
    """Says what the script says of a prompt's pair, at 2 calls and 10 tokens; `asked` is what it was asked about."""

    name = "scripted"
    writer = None

    def __init__(
        self, script: dict[str, tuple[Outcome, tuple[float, float] | None]], revision: str = "1", stop_at: str = ""
    ) -> None:
        self.script, self.revision, self.stop_at = script, revision, stop_at
        self.asked: list[str] = []

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        if self.stop_at in [p.id for p in prompts]:
            raise KeyboardInterrupt
        self.asked += [p.id for p in prompts]
        return [self._verdict(self.script[p.id][1], rubric) for p, rubric in zip(prompts, rubrics, strict=True)]

    def account(self) -> dict[str, object]:
        return {"requests": len(self.asked)}

    @staticmethod
    def _verdict(answer: tuple[float, float] | None, rubric: Rubric | None) -> Verdict:
        cost = Cost(2, 10)
        if answer is None:
            return Verdict(Outcome.FAILED, None, cost=cost, reason="no | reply", failure=Reason.NOT_JSON)
        checks = tuple(CriterionCheck(c.name, c.question, 0.9, 0.2) for c in (rubric.criteria if rubric else ()))
        return settle(*answer, 0.1, checks, cost)
