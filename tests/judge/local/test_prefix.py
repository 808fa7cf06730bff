"""Prefix trees: by hand, and against every possible way of cutting short rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from arr_rpo.judge.local.prefix_tree import KEPT, Node, Tree, least_work, parts, segmenter, tree_of, work

ROWS = st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=5), min_size=1, max_size=4)


def prefix_tree(rows: Sequence[Sequence[int]], most_levels: int) -> Tree:
    """Of all trees with at most so many levels one with the fewest tokens."""
    return tree_of(rows, segmenter(rows)(most_levels))


def test_an_image_with_two_questions_and_another_with_one() -> None:
    """Prompt 1 2, image 3 4 or 5 6, questions 7, 8 and 9: each is read once."""
    rows = [[1, 2, 3, 4, 7], [1, 2, 5, 6, 9], [1, 2, 3, 4, 8]]
    levels, leaves = prefix_tree(rows, most_levels=3)
    assert levels == [
        [Node(0, 0, 2, 0)],
        [Node(0, 2, 4, 0), Node(1, 2, 2, 0)],  # row 1 waits for the others
        [Node(0, 4, 5, 0), Node(1, 2, 5, 1), Node(2, 4, 5, 0)],
    ]
    assert leaves == [0, 1, 2]


def test_two_levels_take_the_cut_that_saves_more() -> None:
    """Cut after 1: 1 + 4 * 3 = 13 tokens; after 1 2 and 1 3: 2 * 2 + 4 * 2 = 12."""
    rows = [[1, 2, 9, 4], [1, 2, 8, 4], [1, 3, 9, 4], [1, 3, 8, 4]]
    assert segmenter(rows)(2) == [(2, 4)] * 4
    assert segmenter(rows)(3) == [(1, 2, 4)] * 4
    assert segmenter(rows)(1) == [(4,)] * 4


def test_padding_is_work() -> None:
    """Two pairs share 2 and 6 tokens, and one is left: two levels read 2 * 6 + 4 * 1 and keep 4 * 7, one level reads 4 * 7.
    Where 1 and 5 of 6 are shared, two levels read 2 * 5 + 4 * 5 and keep 4 * 10, and one reads and keeps 4 * 6."""
    alike = [[1, 1, 7], [1, 1, 8], [2, 2, 2, 2, 2, 2, 7], [2, 2, 2, 2, 2, 2, 8]]
    assert work(*prefix_tree(alike, 2)) == 16 + KEPT * 28
    assert least_work(alike, 4) == prefix_tree(alike, 2)
    uneven = [[1, 7, 1, 1, 1, 1], [1, 8, 1, 1, 1, 1], [2, 2, 2, 2, 2, 7], [2, 2, 2, 2, 2, 8]]
    assert work(*prefix_tree(uneven, 2)) == 30 + KEPT * 40
    assert work(*prefix_tree(uneven, 1)) == 24 + KEPT * 24
    assert least_work(uneven, 4) == prefix_tree(uneven, 1)


def test_one_level_shares_nothing() -> None:
    rows = [[1, 2, 3], [1, 2, 4]]
    assert prefix_tree(rows, most_levels=1) == ([[Node(0, 0, 3, 0), Node(1, 0, 3, 0)]], [0, 1])


def test_the_same_row_twice_is_read_once() -> None:
    levels, leaves = prefix_tree([[1, 2], [1, 2]], most_levels=4)
    assert levels == [[Node(0, 0, 2, 0)]]
    assert leaves == [0, 0]


def test_something_is_left_to_answer_after_where_a_row_begins_another() -> None:
    levels, leaves = prefix_tree([[1, 2], [1, 2, 3]], most_levels=4)
    assert levels == [[Node(0, 0, 1, 0)], [Node(0, 1, 2, 0), Node(1, 1, 3, 0)]]
    assert leaves == [0, 1]


def test_a_row_of_its_own_among_others_loses_no_token() -> None:
    levels, _ = prefix_tree([[1, 2, 3], [1, 2, 4], [7, 8, 9]], most_levels=4)
    assert levels == [
        [Node(0, 0, 2, 0), Node(2, 0, 2, 0)],
        [Node(0, 2, 3, 0), Node(1, 2, 3, 0), Node(2, 2, 3, 1)],
    ]


@given(rows=ROWS, most=st.integers(1, 4))
def test_every_row_can_be_read_off_its_nodes(rows: list[list[int]], most: int) -> None:
    levels, leaves = prefix_tree(rows, most)
    assert len(levels) <= most
    for row, leaf in zip(rows, leaves, strict=True):
        path, at = [], leaf
        for nodes in reversed(levels):
            path.append(nodes[at])
            at = nodes[at].parent
        path.reverse()
        assert [token for node in path for token in rows[node.row][node.start : node.end]] == row
        assert path[0].end > 0
        assert path[-1].end > path[-1].start


@settings(max_examples=60, deadline=None)
@given(rows=ROWS.filter(lambda rows: len(rows) <= 3), most=st.integers(1, 3))
def test_no_other_cuts_take_fewer_tokens(rows: list[list[int]], most: int) -> None:
    levels, _ = prefix_tree(rows, most)
    tokens = sum(node.end - node.start for nodes in levels for node in nodes)
    assert tokens == min(_tokens(rows, ends) for ends in itertools.product(*(_every_cut(row, most) for row in rows)))


def _every_cut(row: Sequence[int], most: int) -> list[tuple[int, ...]]:
    between = range(1, len(row))
    return [(*cut, len(row)) for n in range(most) for cut in itertools.combinations(between, n)]


def _tokens(rows: Sequence[Sequence[int]], ends: Sequence[tuple[int, ...]]) -> int:
    """Distinct segments, a segment being all that stands before it, too; the last of a row answers and is no other's middle."""
    seen = set()
    for row, cut in zip(rows, ends, strict=True):
        for start, end in itertools.pairwise((0, *cut)):
            seen.add((tuple(row[:end]), start, end == len(row)))
    return sum(len(before) - start for before, start, _ in seen)


def test_parts_keep_together_what_begins_alike() -> None:
    """Three rows with 1 1, two with 2 2, in turn: a limit of 4 does not tear the second group."""
    rows = [[1, 1, 5], [2, 2, 5], [1, 1, 6], [2, 2, 6], [1, 1, 7]]
    assert parts(rows, 4) == [[0, 2, 4], [1, 3]]
    assert parts(rows, 5) == [[0, 1, 2, 3, 4]]
    assert parts([], 4) == []


@given(rows=st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=4), max_size=9), size=st.integers(1, 4))
def test_parts_are_all_rows_within_the_limit(rows: list[list[int]], size: int) -> None:
    found = parts(rows, size)
    assert sorted(itertools.chain(*found)) == list(range(len(rows)))
    assert all(0 < len(part) <= size for part in found)
