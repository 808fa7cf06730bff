"""Which steps of a rollout are stochastic, and so trained; the others are Euler steps of the ODE.

Each takes the number of the update, the number of steps that may be stochastic (all but the last) and a random number in
[0, 1) of this rollout, and returns a contiguous range of step indices.
"""

from __future__ import annotations

from typing import Protocol

from arr_rpo.types import UserError


class Window(Protocol):
    """One of the functions below, its settings bound."""

    def __call__(self, update: int, steps: int, draw: float) -> range: ...


def all_steps(update: int, steps: int, draw: float) -> range:
    """Every step (Flow-GRPO, arXiv 2505.05470)."""
    return range(steps)


def fixed(update: int, steps: int, draw: float, *, start: int, size: int) -> range:
    """The same `size` steps in every update, from step `start` on."""
    return _checked(start, size, steps)


def random(update: int, steps: int, draw: float, *, size: int) -> range:
    """`size` steps at a random place, drawn anew in each update (Flow-GRPO-Fast's window)."""
    return _checked(int(draw * (steps - size + 1)), size, steps)


def progressive(update: int, steps: int, draw: float, *, size: int, every: int, stride: int) -> range:
    """MixGRPO's sliding window (arXiv 2507.21802): from the noisiest steps on, `stride` steps further `every` updates, and
    from the start again after the last place."""
    places = range(0, steps - size + 1, stride) or range(1)
    return _checked(places[update // every % len(places)], size, steps)


def _checked(start: int, size: int, steps: int) -> range:
    if size < 1 or start < 0 or start + size > steps:
        raise UserError(
            f"sampler.window: {size} steps from step {start} on do not fit into the {steps} that may be stochastic "
            "(all but the last of policy.num_inference_steps): make `size` or `start` smaller, or take more steps"
        )
    return range(start, start + size)
