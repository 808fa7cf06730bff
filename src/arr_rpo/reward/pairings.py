"""Which candidates of a group meet. Each yields rounds of index pairs (i, j), i < j; `scores` are the points so far (win 1,
tie 1/2).

A round's verdicts are in before the next one is asked for, so that a pairing may look at the scores.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

Match = tuple[int, int]


class Pairing(Protocol):
    """One of the functions below, its settings bound."""

    def __call__(self, group_size: int, scores: Sequence[float]) -> Iterator[list[Match]]: ...


def disjoint(group_size: int, scores: Sequence[float]) -> Iterator[list[Match]]:
    """1st with 2nd, 3rd with 4th, ...: G / 2 verdicts, the published form for G = 2."""
    yield [(first, first + 1) for first in range(0, group_size - 1, 2)]


def round_robin(group_size: int, scores: Sequence[float]) -> Iterator[list[Match]]:
    """Everyone with everyone (Pref-GRPO, arXiv 2508.20751): G (G - 1) / 2 verdicts."""
    yield list(itertools.combinations(range(group_size), 2))


def anchor(group_size: int, scores: Sequence[float]) -> Iterator[list[Match]]:
    """The first candidate with every other: G - 1 verdicts."""
    yield [(0, other) for other in range(1, group_size)]


def swiss(group_size: int, scores: Sequence[float], *, rounds: int) -> Iterator[list[Match]]:
    """A Swiss tournament: in each round candidates of like score meet, nobody twice the same: about `rounds` * G / 2
    verdicts."""
    met: set[Match] = set()
    for _ in range(rounds):
        waiting = sorted(range(group_size), key=lambda candidate: (-scores[candidate], candidate))
        pairs: list[Match] = []
        while waiting:
            one = waiting.pop(0)
            for other in waiting:
                pair = (min(one, other), max(one, other))
                if pair not in met:
                    waiting.remove(other)
                    pairs.append(pair)
                    break
        met.update(pairs)
        yield pairs
