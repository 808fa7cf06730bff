"""How often a judge prefers the trained policy's picture to the base's, of the same prompt and the same noise."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from arr_rpo import ranks
from arr_rpo.judge.asked_once import AskedOnce
from arr_rpo.judge.base import Judge
from arr_rpo.measure.base import Measure, Own, Value
from arr_rpo.reward.combined import Reward
from arr_rpo.reward.joining import of_pictures
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


@dataclass(frozen=True)
class Gate:
    """A part of a combined reward whose value a picture must reach before the parts `behind` it count for it."""

    reward: Reward
    least: float
    behind: frozenset[str]


class WinRate(Measure):
    """1 where the judge prefers the picture to the base's, 0 where it prefers the base's, one half where it is a tie or the
    order of the two decides; a failed verdict is missing. Of the base itself it is one half, and nobody is asked.

    By default it is the run's own word: its reward, asked of held-out pictures, which is what training raises (the proxy). Of
    a combined reward each part says who wins, and the parts' weights weigh that. A picture that does not pass a gate gains
    nothing from the other parts, as in training: for them it is no better than the other one.

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
        self.gates: list[Gate] = []
        self._writer = judge  # who writes and verifies the rubrics
        self._rubrics: dict[tuple[str, str], Rubric] = {}  # ids are unique within a file of prompts alone

    @property
    def takes_the_runs(self) -> bool:
        """Whether it asks the run's own judge, as the run's reward does, or by its rubrics."""
        return self.judge is None or not self.asked or (self.rubric is None and self._reads_rubrics)

    def begin(self, own: Own | None) -> None:
        """See `Measure.begin`.

        Raises:
            UserError: something is to be the run's own, and the run has no such thing.
        """
        if own is None and (self.judge is None or not self.asked):
            raise UserError("measure=win_rate asks the run's own judge, and this run has none: give measure.win_rate.judge")
        if self.judge is None:
            self.judge = self._writer = own.judge if own else None
        if not self.asked and own:
            self.asked, self.gates = list(_parts(own.reward)), list(_gates(own.reward))
        if self.rubric is None:
            self.rubric, self._writer = (own.rubric, own.judge) if own else (None, None)  # as training has them
        if self._reads_rubrics and self.rubric is None:
            raise UserError("a win rate's protocol reads a rubric and there is none: +rubric@measure.NAME.rubric=per_prompt")

    @property
    def _reads_rubrics(self) -> bool:
        return any(asked.protocol.uses_rubric for asked in self.asked) or any(gate.reward.uses_rubric for gate in self.gates)

    def prepare(self, prompts: Sequence[Prompt]) -> None:
        """Has one process write the rubrics of prompts that are new, or whose rubric failed before."""
        if (source := self.rubric) is None or not self._reads_rubrics:
            return
        for start in range(0, len(prompts), AT_ONCE):
            new = [prompt for prompt in prompts[start : start + AT_ONCE] if _key(prompt) not in self._rubrics]
            if new:
                before = source.cost
                written = ranks.by_the_first(functools.partial(source.rubrics, new, self._writer))
                self.cost += source.cost - before
                self._rubrics |= {_key(prompt): rubric for prompt, rubric in zip(new, written, strict=True) if rubric}

    def values(self, prompts: Sequence[Prompt], images: Sequence[Image], base: Sequence[Image] | None) -> list[Value]:
        if base is None:
            return [Value(0.5)] * len(prompts)
        assert self.judge is not None
        pairs, rubrics = list(zip(images, base, strict=True)), [self._rubrics.get(_key(prompt)) for prompt in prompts]
        judge: Any = AskedOnce(self.judge) if self.gates else self.judge  # a gate is asked what its part is asked
        verdicts = [as_verdicts(asked.protocol, judge, prompts, pairs, rubrics) for asked in self.asked]
        self.cost += sum((verdict.cost for some in verdicts for verdict in some), Cost())
        shut = [self._shut(gate, judge, prompts, pairs, rubrics) for gate in self.gates]
        return [self._value([some[row] for some in verdicts], [some[row] for some in shut]) for row in range(len(prompts))]

    def _shut(
        self,
        gate: Gate,
        judge: Judge,
        prompts: Sequence[Prompt],
        pairs: Sequence[tuple[Image, Image]],
        rubrics: Sequence[Rubric | None],
    ) -> list[tuple[bool, bool] | None]:
        """Whether the pictures of each pair fail at a gate; None where one has no grade there, or the pair no verdict. A pair
        that the order decides does not fail."""
        images = tuple(image for pair in pairs for image in pair)
        found = gate.reward(judge, of_pictures(prompts, 2, images), rubrics)
        self.cost += found.cost
        shut = (found.valid_B & (found.values_B < gate.least)).view(-1, 2).tolist()
        known = (
            found.valid_B.view(-1, 2).all(1).tolist()
            if found.grades
            else [verdict.outcome is not Outcome.FAILED for verdict in found.verdicts] or [True] * len(shut)
        )
        return [(ours, theirs) if there else None for (ours, theirs), there in zip(shut, known, strict=True)]

    def _value(self, said: Sequence[Verdict], shut: Sequence[tuple[bool, bool] | None]) -> Value:
        """Of one pair, by all who were asked, and by gate whether its pictures fail there."""
        if None in shut:
            return Value(None, reason="a gate of the reward has no value of it")
        points, weights, figures = 0.0, 0.0, dict[str, float]()
        for asked, verdict in zip(self.asked, said, strict=True):
            if verdict.outcome is Outcome.FAILED:
                return Value(None, reason=verdict.reason or "the judge failed")
            won = {Outcome.A: 1.0, Outcome.B: 0.0}.get(verdict.outcome, 0.5)
            won = won if asked.weight > 0 else 1 - won
            for gate, at_gate in zip(self.gates, shut, strict=True):
                if at_gate and asked.name in gate.behind:
                    ours, theirs = at_gate
                    won = min(won, 0.5) if ours else won
                    won = max(won, 0.5) if theirs else won
            points, weights = points + abs(asked.weight) * won, weights + abs(asked.weight)
            figures |= {asked.name: won} if asked.name else {}
            figures |= _by_criterion(verdict)
        figures |= {TIED: _share(said, Outcome.TIE), ORDER_DECIDED: _share(said, Outcome.INCONSISTENT)}
        return Value(points / weights, figures)


def _key(prompt: Prompt) -> tuple[str, str]:
    return prompt.id, prompt.text


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


def _gates(reward: Any) -> Iterator[Gate]:
    """Of a combined reward, and of those in it."""
    ways = [way.name for way in _parts(reward)]
    for name, part in getattr(reward, "parts", {}).items():
        for inner in _gates(part.reward):
            yield Gate(inner.reward, inner.least, frozenset(f"{name}/{way}" for way in inner.behind))
        if part.gate is not None:
            yield Gate(part.reward, part.gate, frozenset(way for way in ways if way.split("/")[0] != name))


def _by_criterion(verdict: Verdict) -> dict[str, float]:
    of: dict[str, list[float]] = defaultdict(list)
    for check in verdict.checks:
        of[check.name].append((1 + check.a - check.b) / 2)
    return {name: sum(values) / len(values) for name, values in of.items()}


def _share(said: Sequence[Verdict], outcome: Outcome) -> float:
    return sum(verdict.outcome is outcome for verdict in said) / len(said)
