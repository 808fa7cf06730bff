"""How often a judge prefers the trained policy's picture to the base's, of the same prompt and the same noise."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from arr_rpo import ranks
from arr_rpo.judge.base import Judge
from arr_rpo.measure.base import Measure, Own, Value
from arr_rpo.reward.protocols import PairProtocol, PointProtocol, as_verdicts
from arr_rpo.types import Cost, Outcome, Prompt, Rubric, UserError, Verdict

AT_ONCE = 64  # prompts whose rubrics are written together
TIED, ORDER_DECIDED = "tied", "order decided"


@dataclass(frozen=True)
class Way:
    """One way in which a pair is judged. weight: of its word among others'; below 0 the worse picture is the better one."""

    name: str
    protocol: PairProtocol | PointProtocol
    weight: float


class WinRate(Measure):
    """1 where the judge prefers the picture to the base's, 0 where it prefers the base's, one half where it is a tie or the
    order of the two decides; a failed verdict is missing. Of the base itself it is one half, and nobody is asked.

    By default it is the run's own word: its reward, asked of held-out pictures, which is what training raises (the proxy). Of
    a combined reward each part says who wins, and the parts' weights weigh that; gates are not read.

    Further figures: shares of ties and of verdicts that the order decided, the parts, and for each criterion by its name
    (1 + P(the picture meets it) - P(the base's does)) / 2.

    Args:
        judge: who is asked; None takes the run's own. protocol: how; None takes the run's reward, part by part.
        rubric: where rubrics come from, if the protocol reads any; None takes the run's own.
    """

    against_base = True

    def __init__(self, *, judge: Judge | None, protocol: PairProtocol | PointProtocol | None, rubric: Any | None) -> None:
        self.judge, self.rubric = judge, rubric
        self.asked = [Way("", protocol, 1.0)] if protocol else []
        self._rubrics: dict[str, Rubric | None] = {}

    def begin(self, own: Own | None) -> None:
        """See `Measure.begin`.

        Raises:
            UserError: something is to be the run's own, and the run has no such thing.
        """
        if own is None and (self.judge is None or not self.asked):
            raise UserError("measure=win_rate asks the run's own judge, and this run has none: give measure.win_rate.judge")
        if self.judge is None:
            self.judge = own.judge if own else None
        if not self.asked and own:
            self.asked = list(_parts(own.reward))
        if self.rubric is None:
            self.rubric = own.rubric if own else None
        if self._reads_rubrics and self.rubric is None:
            raise UserError(
                "measure=win_rate: its protocol reads a rubric and there is none: rubric@measure.win_rate.rubric=per_prompt"
            )

    @property
    def _reads_rubrics(self) -> bool:
        return any(asked.protocol.uses_rubric for asked in self.asked)

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Has one process write the rubrics of prompts that are new."""
        if (source := self.rubric) is None or not self._reads_rubrics:
            return
        for start in range(0, len(prompts), AT_ONCE):
            new = [prompt for prompt in prompts[start : start + AT_ONCE] if prompt.id not in self._rubrics]
            if new:
                written = ranks.by_the_first(functools.partial(source.rubrics, new, self.judge))
                self._rubrics |= {prompt.id: rubric for prompt, rubric in zip(new, written, strict=True)}

    def values(self, prompts: Sequence[Prompt], images: Sequence[Image], base: Sequence[Image] | None) -> list[Value]:
        if base is None:
            return [Value(0.5)] * len(prompts)
        assert self.judge is not None
        pairs, rubrics = list(zip(images, base, strict=True)), [self._rubrics.get(prompt.id) for prompt in prompts]
        verdicts = [as_verdicts(asked.protocol, self.judge, prompts, pairs, rubrics) for asked in self.asked]
        self.cost += sum((verdict.cost for some in verdicts for verdict in some), Cost())
        return [self._value(said) for said in zip(*verdicts, strict=True)]

    def _value(self, said: Sequence[Verdict]) -> Value:
        """Of one pair, by all who were asked."""
        points, weights, figures = 0.0, 0.0, dict[str, float]()
        for asked, verdict in zip(self.asked, said, strict=True):
            if verdict.outcome is Outcome.FAILED:
                return Value(None, reason=verdict.reason or "the judge failed")
            won = {Outcome.A: 1.0, Outcome.B: 0.0}.get(verdict.outcome, 0.5)
            won = won if asked.weight > 0 else 1 - won
            points, weights = points + abs(asked.weight) * won, weights + abs(asked.weight)
            figures |= {asked.name: won} if asked.name else {}
            figures |= _by_criterion(verdict)
        figures |= {TIED: _share(said, Outcome.TIE), ORDER_DECIDED: _share(said, Outcome.INCONSISTENT)}
        return Value(points / weights, figures)


def _parts(reward: Any) -> Iterator[Way]:
    """How a reward asks: each of its parts, or itself."""
    for name, part in getattr(reward, "parts", {}).items():
        for inner in _parts(part.reward):
            if part.weight:
                yield Way("/".join(filter(None, (name, inner.name))), inner.protocol, part.weight * inner.weight)
    if hasattr(reward, "protocol"):
        yield Way("", reward.protocol, 1.0)
    elif not hasattr(reward, "parts"):
        raise UserError(f"measure=win_rate does not know how {type(reward).__name__} asks: give measure.win_rate.protocol")


def _by_criterion(verdict: Verdict) -> dict[str, float]:
    of: dict[str, list[float]] = defaultdict(list)
    for check in verdict.checks:
        of[check.name].append((1 + check.a - check.b) / 2)
    return {name: sum(values) / len(values) for name, values in of.items()}


def _share(said: Sequence[Verdict], outcome: Outcome) -> float:
    return sum(verdict.outcome is outcome for verdict in said) / len(said)
