"""Learning-rate factors over a run; `done` in [0, 1) is the share of updates behind."""

from __future__ import annotations


def constant(done: float) -> float:
    return 1.0


def linear_decay(done: float) -> float:
    """From 1 to 0: what noisy verdicts add to the weights late in a run is not averaged away by later updates."""
    return 1.0 - done
