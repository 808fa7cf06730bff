"""What judging has taken and brought, of one update or of a whole run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arr_rpo.types import Cost


@dataclass(frozen=True)
class JudgingCounts:
    """In all processes. cost: of judging. writing: of rubrics, which are free where a store has them. images: candidates.
    outcomes: of verdicts. reasons: of what failed. rubric_failures: prompts that were left without a rubric."""

    cost: Cost = field(default_factory=Cost)
    writing: Cost = field(default_factory=Cost)
    images: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rubric_failures: int = 0

    def __add__(self, other: JudgingCounts) -> JudgingCounts:
        return JudgingCounts(
            self.cost + other.cost,
            self.writing + other.writing,
            self.images + other.images,
            self.outcomes + other.outcomes,
            self.reasons + other.reasons,
            self.rubric_failures + other.rubric_failures,
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {
            "calls": self.cost.calls,
            "tokens": self.cost.tokens,
            "writing_calls": self.writing.calls,
            "writing_tokens": self.writing.tokens,
            "images": self.images,
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "rubric_failures": self.rubric_failures,
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> JudgingCounts:
        return cls(
            Cost(state["calls"], state["tokens"]),
            Cost(state["writing_calls"], state["writing_tokens"]),
            state["images"],
            Counter(state["outcomes"]),
            Counter(state.get("reasons", {})),  # not in an older checkpoint
            state["rubric_failures"],
        )
