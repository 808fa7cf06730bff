"""Rows of tokens that begin alike, as a tree that is read level by level: what several rows share is read once.

Pure: lists of integers in, lists of indices out.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Tokens = Sequence[int]
Ends = tuple[int, ...]  # where the segments of a row end; the last is its length

KEPT = 1 / 8  # what a token that is kept costs of one that is read, as the slots of a form go on from it


@dataclass(frozen=True)
class Node:
    """The tokens `start` to `end` of `row`, which is the first of the rows that begin with them, and of those alone.

    parent: index of the node of the level before that it continues; 0 on the first level, which continues nothing.
    """

    row: int
    start: int
    end: int
    parent: int


# Levels of nodes, read one after the other, and for each row the node of the last level that ends it. A node is empty where a
# row waits for longer branches; nodes of the first and last level are never empty, as a model has to answer after the last.
# Rows have at least two tokens.
Tree: TypeAlias = "tuple[list[list[Node]], list[int]]"


def least_work(rows: Sequence[Tokens], most_levels: int) -> Tree:
    """Of the trees with one to `most_levels` levels the one that is the least work, padding included."""
    cut = segmenter(rows)
    return min((tree_of(rows, cut(levels)) for levels in range(1, most_levels + 1)), key=lambda tree: work(*tree))


def work(levels: Sequence[Sequence[Node]], leaves: Sequence[int]) -> float:
    """Tokens that are read, and a part of those that rows go on from; each node is as long as the longest of its level."""
    widths = [max(node.end - node.start for node in nodes) for nodes in levels]
    return sum(len(nodes) * width for nodes, width in zip(levels, widths, strict=True)) + KEPT * len(leaves) * sum(widths)


def tree_of(rows: Sequence[Tokens], cuts: Sequence[Ends]) -> Tree:
    depth = max(map(len, cuts))
    ends = [_aligned(cut, depth) for cut in cuts]
    levels: list[list[Node]] = []
    at = [0] * len(rows)
    for level in range(depth):
        nodes: list[Node] = []
        index: dict[tuple[int, tuple[int, ...]], int] = {}
        for i, row in enumerate(rows):
            start, end = (ends[i][level - 1] if level else 0), ends[i][level]
            key = (at[i], tuple(row[start:end]))
            if key not in index:
                index[key] = len(nodes)
                nodes.append(Node(i, start, end, at[i]))
            at[i] = index[key]
        levels.append(nodes)
    return levels, at


def segmenter(rows: Sequence[Tokens]) -> Callable[[int], list[Ends]]:
    """Where to cut each row into at most so many segments that reading each distinct beginning once is the fewest tokens."""
    distinct = sorted({tuple(row) for row in rows})
    shared = [0, *(_shared(a, b) for a, b in itertools.pairwise(distinct))]

    @functools.cache
    def best(low: int, high: int, start: int, left: int) -> tuple[int, tuple[Ends, ...]]:
        """Tokens and cuts of the sorted rows low to high, which agree up to `start` and are read up to there."""
        if high - low == 1:
            length = len(distinct[low])
            return length - start, ((length,),)
        fork = min(shared[low + 1 : high])
        bounds = [low, *(k for k in range(low + 1, high) if shared[k] == fork), high]
        branches = list(itertools.pairwise(bounds))
        tokens, ends = _together([best(a, b, start, left) for a, b in branches])
        if left > 1 and fork > start:
            after, cut = _together([best(a, b, fork, left - 1) for a, b in branches])
            if fork - start + after < tokens:
                return fork - start + after, tuple((fork, *e) for e in cut)
        return tokens, ends

    def cuts(most: int) -> list[Ends]:
        ends = dict(zip(distinct, best(0, len(distinct), 0, most)[1], strict=True))
        return [ends[tuple(row)] for row in rows]

    return cuts


def parts(rows: Sequence[Tokens], size: int) -> list[list[int]]:
    """The rows in parts of at most `size`, those that begin alike together: a part ends, beyond half of its size, where the
    least is shared."""
    order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
    done: list[list[int]] = []
    while len(order) > size:
        cuts = range(size, size // 2, -1)
        cut = min(cuts, key=lambda k: _shared(rows[order[k - 1]], rows[order[k]]))
        done.append(sorted(order[:cut]))
        order = order[cut:]
    return [*done, sorted(order)] if order else done


def _together(branches: Sequence[tuple[int, tuple[Ends, ...]]]) -> tuple[int, tuple[Ends, ...]]:
    return sum(tokens for tokens, _ in branches), tuple(e for _, ends in branches for e in ends)


def _shared(a: Tokens, b: Tokens) -> int:
    """Length of the common beginning, without the last token of either: something has to be left to answer after."""
    most = min(len(a), len(b)) - 1
    return next((k for k in range(most) if a[k] != b[k]), most)


def _aligned(ends: Ends, levels: int) -> Ends:
    """The segments spread over `levels`: the first on the first level, the last on the last, empty ones between."""
    if len(ends) == 1 and levels > 1:
        ends = (ends[0] - 1, ends[0])
    return (*ends[:-1], *[ends[-2]] * (levels - len(ends)), ends[-1]) if levels > 1 else ends
