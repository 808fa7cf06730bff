"""A judge that says the same of everything: nothing can be learned from it, and nothing measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from arr_rpo.judge.reasons import FIXES
from arr_rpo.types import Grade, Outcome, Reason, UserError, Verdict

NO_ANSWER = "no answer"  # for whatever reason


class Monotony:
    """Watches the first answers of a judge, until two of them differ in kind.

    after: answers of one kind after which that is said.
    """

    def __init__(self, *, after: int) -> None:
        if after < 1:
            raise UserError(f"monotony.after={after}: it takes some answers to be of one kind")
        self.after, self.count = after, 0
        self._kind: str | None = None  # of all answers so far
        self._reasons = Counter[Reason | None]()
        self._differ = False

    def heard(self, answers: Sequence[Verdict | Grade]) -> str | None:
        """What the judge does, in the moment that `after` answers are of one kind; None otherwise."""
        for answer in answers:
            kind = _kind(answer)
            self._differ = self._differ or self._kind not in (None, kind)
            if self._differ:
                return None
            self._kind, self.count = kind, self.count + 1
            self._reasons[answer.failure] += 1
            if self.count == self.after:
                return self.so_far
        return None

    @property
    def so_far(self) -> str | None:
        """What the judge has done with all that it was asked; None where it answered in more than one way, or nothing."""
        if self._kind is None or self._differ:
            return None
        return f"all of the first {self.count} answers: {self._kind}" + (self._why() if self._kind == NO_ANSWER else "")

    @property
    def failing(self) -> bool:
        """Whether none of all that it was asked had an answer."""
        return self._kind == NO_ANSWER and not self._differ

    def state_dict(self) -> dict[str, Any]:
        reasons = {str(reason or ""): count for reason, count in self._reasons.items()}
        return {"count": self.count, "kind": self._kind, "reasons": reasons, "differ": self._differ}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """A run that goes on has heard what was said before."""
        self.count, self._kind, self._differ = state_dict["count"], state_dict["kind"], state_dict["differ"]
        self._reasons = Counter({Reason(reason) if reason else None: count for reason, count in state_dict["reasons"].items()})

    def _why(self) -> str:
        """The commonest reason, with what mends it."""
        [(reason, count)] = self._reasons.most_common(1)
        what = f"{count} of them for the reason {reason or 'unnamed'}"
        return f", {what} (to mend it: {FIXES[reason]})" if reason else f", {what}"


def _kind(answer: Verdict | Grade) -> str:
    if isinstance(answer, Grade):
        return NO_ANSWER if answer.value is None else f"the grade {answer.value:.6f}"
    if answer.outcome is Outcome.FAILED:
        return NO_ANSWER
    if answer.outcome is Outcome.INCONSISTENT:
        first = answer.p_a_by_order is not None and answer.p_a_by_order[0] > 0.5
        return f"the image that is shown {'first' if first else 'second'} is the better one, whichever that is"
    if answer.outcome is Outcome.TIE:
        yes = answer.checks and all(min(check.a, check.b) > 0.5 for check in answer.checks)
        return "a tie" + (", with yes to every question" if yes else "")
    return f"{answer.outcome} is better"
