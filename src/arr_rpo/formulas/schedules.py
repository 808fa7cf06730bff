"""Factors over a run, as functions of how much of it is behind."""

from __future__ import annotations


def constant(done: float) -> float:
    """The learning rate stays; `done` in [0, 1) is the share of updates behind."""
    return 1.0


def linear_decay(done: float) -> float:
    """From 1 to 0: what noisy verdicts add to the weights late in a run is not averaged away by later updates."""
    return 1.0 - done


def ramp(update: int, *, slope: float, maximum: float) -> float:
    """min(slope * update, maximum): how much the policy that rolls out keeps of its former weights (arXiv 2509.16117)."""
    return min(slope * update, maximum)
