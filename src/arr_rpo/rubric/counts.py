"""What became of the rubrics that were written: the figures of an auto-rubric run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import zip_longest
from typing import Any

from arr_rpo.types import Cost


@dataclass(frozen=True)
class Counts:
    """Counts. Each pair that is written from makes one draft; those of a prompt that verify become its rubric.

    drafts: asked for. written: of them, those whose reply was a rubric. verified: entry k, drafts that passed after k
    refinements. discarded: drafts that never passed, those without a readable reply included. unanswered: drafts on which the
    judge or the writer could not be heard, which is no verdict on them. malformed: replies that were no rubric or structure.
    unstructured: rubrics left without themes by such a reply, or by none. rubrics: made. without: prompts left without.
    """

    drafts: int = 0
    written: int = 0
    verified: tuple[int, ...] = ()
    discarded: int = 0
    unanswered: int = 0
    malformed: int = 0
    unstructured: int = 0
    rubrics: int = 0
    without: int = 0
    cost: Cost = field(default_factory=Cost)

    def __add__(self, other: Counts) -> Counts:
        values: dict[str, Any] = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        values["verified"] = tuple(a + b for a, b in zip_longest(self.verified, other.verified, fillvalue=0))
        return Counts(**values)

    def rows(self) -> list[tuple[str, str]]:
        """Each figure with its name, for a table."""
        first, *later = self.verified or (0,)
        return [
            ("drafts asked for", str(self.drafts)),
            ("written", _of(self.written, self.drafts)),
            ("verified at first pass", _of(first, self.drafts)),
            *((f"verified after {k} refinement{'s' if k > 1 else ''}", str(n)) for k, n in enumerate(later, start=1)),
            ("discarded", _of(self.discarded, self.drafts)),
            ("unanswered", str(self.unanswered)),
            ("malformed replies", str(self.malformed)),
            ("rubrics", str(self.rubrics)),
            ("  of them left unstructured", str(self.unstructured)),
            ("prompts without such a rubric", str(self.without)),
            ("calls", f"{self.cost.calls:,}"),
            ("tokens", f"{self.cost.tokens:,}"),
        ]


def _of(count: int, total: int) -> str:
    return f"{count} ({count / total:.0%})" if total else str(count)
