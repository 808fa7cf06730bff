"""Further steps of candidates that the pipeline was called for once: the transformer alone, with what the pipeline gave it.

The pipeline stays the definition. That calling its transformer comes to the same is found out from what the pipeline does, and
shown at each step of the schedule to the bit, or the whole pipeline is called every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from arr_rpo.policy.conditioning import by_value
from arr_rpo.policy.encodings import storage_bytes
from arr_rpo.types import Prompt

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class WholeStep:
    """What the pipeline did in one step.

    latents: (b, n, ...) that the step began with. velocity: (b, n, ...) that it came to, guidance and all.
    arguments: of each call of the transformer.
    """

    latents: Tensor
    velocity: Tensor
    arguments: tuple[Arguments, ...]


@dataclass(frozen=True)
class ShortWay:
    """How a pipeline calls its transformer, once a step, and takes its output for the velocity.

    latents: name of the argument that is the latents, or begins with them (the tokens of a source picture follow).
    by_step: the arguments that depend on the step alone, as numbers, by the step.
    """

    latents: str
    by_step: tuple[Mapping[str, Any], ...]

    def velocity(self, transformer: nn.Module, given: Arguments, latents: Tensor, step: int) -> Tensor:
        """(b, n, ...) from latents (b, n, ...) at `step`, for the candidates that the pipeline once gave `given` for."""
        before, n = given[self.latents], latents.shape[1]
        now = latents.to(before.dtype)
        arguments = {
            **given,
            **{name: _like(value, given[name]) for name, value in self.by_step[step].items()},
            self.latents: now if before.shape[1] == n else torch.cat([now, before[:, n:]], 1),
        }
        velocity: Tensor = transformer(**arguments)[0][:, :n]
        return velocity


def learned(transformer: nn.Module, steps: Sequence[WholeStep]) -> ShortWay | str:
    """The short way of a pipeline, from one whole step of the same candidates, with other latents, at each step of its
    schedule; or why there is none."""
    calls = [step.arguments[0] for step in steps if len(step.arguments) == 1]
    if len(calls) < len(steps):
        return "the pipeline does not call its transformer once a step"
    names = [name for name in calls[0] if all(_begins(call.get(name), s.latents) for call, s in zip(calls, steps, strict=True))]
    if len(names) != 1 or any(call.keys() != calls[0].keys() for call in calls):
        return "the transformer is not given the latents as they are"
    changing = [name for name in calls[0] if name != names[0] and len({by_value(call[name]) for call in calls}) > 1]
    values = [{name: _number(call[name]) for name in changing} for call in calls]
    if any(value is None for row in values for value in row.values()):
        return "an argument of the transformer depends on the step, and is not one number"
    way = ShortWay(names[0], tuple(values))
    with torch.no_grad():
        short = [way.velocity(transformer, calls[0], step.latents, index) for index, step in enumerate(steps)]
    same = [a.shape == step.velocity.shape and torch.equal(a, step.velocity) for a, step in zip(short, steps, strict=True)]
    return way if all(same) else "the transformer's output is not what the scheduler steps with"


class Kept:
    """What a pipeline gave its transformer for some candidates, by the candidates, as far as there is room for.

    has_room: whether so many bytes may be kept in all.
    """

    def __init__(self, has_room: Callable[[int], bool]) -> None:
        self._has_room = has_room
        self._given: dict[tuple[int, ...], tuple[Sequence[Prompt], Arguments]] = {}

    def get(self, candidates: Sequence[Prompt]) -> Arguments | None:
        """None where nothing is kept for just these."""
        return self._given.get(tuple(map(id, candidates)), ((), None))[1]

    def put(self, candidates: Sequence[Prompt], arguments: Arguments) -> None:
        """Not where a gradient would have to go through what the pipeline gave."""
        tensors = [value for _, given in self._given.values() for value in given.values() if isinstance(value, Tensor)]
        tensors += (new := [value for value in arguments.values() if isinstance(value, Tensor)])
        if not any(tensor.requires_grad for tensor in new) and self._has_room(storage_bytes(tensors)):
            self._given[tuple(map(id, candidates))] = candidates, arguments  # with the candidates, whose ids stay theirs


def _begins(value: Any, latents: Tensor) -> bool:
    if not isinstance(value, Tensor) or value.ndim != latents.ndim or value.shape[1] < latents.shape[1]:
        return False
    first = value[:, : latents.shape[1]]
    return first.shape == latents.shape and torch.equal(first, latents.to(value.dtype))


def _number(value: Any) -> Any:
    """A number, or a tensor of one number (0-dimensional); None of anything else."""
    if isinstance(value, Tensor):
        return value.flatten()[0].detach() if value.numel() and bool((value == value.flatten()[0]).all()) else None
    return value if isinstance(value, int | float) else None


def _like(number: Any, before: Any) -> Any:
    return number.expand_as(before) if isinstance(before, Tensor) else number
