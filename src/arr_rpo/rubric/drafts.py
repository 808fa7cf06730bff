"""A rubric on its way through auto-rubric, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arr_rpo.rubric.verify import Verification
from arr_rpo.types import Preference, Rubric

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """What a task came to. rubric None: all drafts were discarded, or are open.

    unanswered: another try may come to more, as the judge or the writer was not heard: it is not for the store.
    unread: no rubric, and a reply that was not even JSON: with a longer limit of tokens, of which no store knows, it may be.
    history: what happened to each draft, step by step.
    """

    rubric: Rubric | None
    unanswered: bool
    history: tuple[Event, ...]
    unread: bool = False


@dataclass(frozen=True)
class Draft:
    """A rubric under way. rubric None: its reply was none. verification None: it is yet to be verified.

    unread: it ended with a reply that is not JSON. unheard: a reply did not come at all.
    """

    task: int
    pairs: tuple[Preference, ...]  # the one it is written from, others that it may be mended by, then those held out
    told: int  # how many of them are not held out
    rubric: Rubric | None = None
    verification: Verification | None = None
    refinements: int = 0
    malformed: int = 0
    unread: bool = False
    unheard: bool = False
    unverified: bool = False  # it counts as it was written
    history: tuple[Event, ...] = ()

    @property
    def passed(self) -> bool:
        if self.unverified:
            return self.rubric is not None
        return self.verification is not None and self.verification.passed

    @property
    def refinable(self) -> tuple[int, ...]:
        """The missed pairs that a writer may be told of. A verification that only lacks answers says nothing to mend."""
        if self.rubric is None or self.verification is None or self.passed or self.unheard:
            return ()
        return tuple(i for i in self.verification.missed if i < self.told)

    @property
    def unanswered(self) -> bool:
        return self.unheard or (self.verification is not None and self.verification.open and not self.passed)
