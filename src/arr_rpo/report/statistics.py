"""Intervals and p-values of a mean over few seeds and some hundred prompts, and their correction for being many."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def t_interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Student's, of the mean of two values or more; without width where they are equal."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = error * float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    return mean - half, mean + half


def t_p_value(values: Sequence[float]) -> float:
    """Two-sided, of the mean being 0; 1 where all are 0."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, len(values) - 1))


def bootstrap_means(values_SP: Floats, draws: int, seed: int) -> Floats:
    """(draws,) means of S seeds and P prompts that are drawn with replacement, each independently of the other.

    Every seed is measured on the same prompts, so a draw has the same prompts for all its seeds: the "pigeonhole bootstrap" of
    crossed data, whose variance is that of the mean or somewhat more (Owen 2007, https://doi.org/10.1214/07-AOAS122). Drawing
    prompts anew within each seed would average away what a lucky choice of prompts does to all seeds alike. One seed (or one
    column, where only the runs' means are known) is not drawn.
    """
    seeds, prompts = values_SP.shape
    by_seed = _counts(prompts, draws, seed) @ values_SP.T / prompts
    found: Floats = (by_seed * _counts(seeds, draws, seed + 1)).sum(axis=1) / seeds
    return found


def bootstrap_interval(means: Floats, confidence: float) -> tuple[float, float]:
    """Between percentiles."""
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_p_value(means: Floats) -> float:
    """Two-sided, of 0 being the mean: twice the share of the draws on its far side, counting one draw more there, so that no
    p-value is below what the number of draws can show."""
    below, above = int((means <= 0).sum()), int((means >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(means)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that keep the chance of any false claim among all of them below the level at which they are read (Holm 1979,
    Scandinavian Journal of Statistics 6, 65-70). The smallest of m is multiplied by m, the next by m - 1, and so on; none may
    end below that of a smaller one."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def first_at(places: Sequence[float], place: float) -> tuple[int, int, float] | None:
    """Where a course first is at `place`, on the line between two of its `places`: the numbers of both, and what share of the
    way between them is gone, 0 to 1. A course that begins beyond it is there at its beginning; None if it never is."""
    if places and places[0] >= place:
        return 0, 0, 0.0
    for k, (less, more) in enumerate(itertools.pairwise(places)):
        if less < place <= more:
            return k, k + 1, (place - less) / (more - less)
    return None


@functools.lru_cache(maxsize=8)
def _counts(things: int, draws: int, seed: int) -> Floats:
    """(draws, things) how often each is drawn: the same draws for all comparisons of one size."""
    drawn = np.random.default_rng(seed).multinomial(things, np.full(things, 1 / things), size=draws)
    return drawn.astype(np.float64)
