"""The grid of pictures: which are shown, in which order, and which is marked as better."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import Image

from arr_rpo.callbacks.image_grid import LINE, MARGIN, PICTURE, _apart, cards, joined
from arr_rpo.types import Prompt
from tests.callbacks.test_verdict_rows import GRADED, PAIRED, rollout

COLUMNS = (MARGIN + PICTURE // 2, MARGIN + PICTURE + MARGIN + PICTURE // 2)


def shown(sheet: Image.Image, row: int, height: int) -> list[int]:
    """Red level in the middle of A and of B; the background is 255."""
    return [sheet.getpixel((x, row * height + MARGIN + LINE + PICTURE // 2))[0] for x in COLUMNS]


def has_green(sheet: Image.Image, row: int, height: int) -> list[bool]:
    """Whether the titles of A and B are green: which is marked as better."""
    marked = []
    for column in range(2):
        left, top = MARGIN + column * (PICTURE + MARGIN), row * height
        pixels = sheet.crop((left, top, left + PICTURE, top + MARGIN + LINE - 2)).getcolors(100_000)
        marked.append(any(g > r + 60 and g > b + 60 for _, (r, g, b) in pixels))
    return marked


def test_pairs_of_verdicts() -> None:
    sheet = joined(cards(rollout(4, 2), PAIRED, pairs=3))
    height = sheet.height // 3
    assert [shown(sheet, row, height) for row in range(3)] == [[0, 40], [80, 120], [160, 200]]
    assert [has_green(sheet, row, height) for row in range(3)] == [[True, False], [False, False], [False, False]]


def test_neighbours_where_pictures_were_graded() -> None:
    sheet = joined(cards(rollout(2, 2), GRADED, pairs=8))
    height = sheet.height // 2
    assert [shown(sheet, row, height) for row in range(2)] == [[0, 40], [80, 120]]
    assert [has_green(sheet, row, height) for row in range(2)] == [[False, False]] * 2  # one of each has no grade


def test_the_last_of_an_odd_group_stands_alone_and_the_higher_grade_is_marked() -> None:
    known = GRADED.grades[0], GRADED.grades[2], GRADED.grades[0]
    rewards = type(GRADED)(GRADED.values_B[:3], GRADED.valid_B[:3], grades=known, rubrics=(None,))
    sheet = joined(cards(rollout(1, 3), rewards, pairs=8))
    height = sheet.height // 2
    assert [shown(sheet, row, height) for row in range(2)] == [[0, 40], [80, 255]]
    assert [has_green(sheet, row, height) for row in range(2)] == [[False, True], [False, False]]


@pytest.mark.parametrize("pairs", [1, 2])
def test_no_more_pairs_than_asked_for(pairs: int) -> None:
    assert joined(cards(rollout(4, 2), PAIRED, pairs=pairs)).height == pairs * (PICTURE + LINE + 2 * MARGIN)


def test_an_edit_shows_its_source_first() -> None:
    edits = dataclasses.replace(
        rollout(4, 2), prompts=tuple(Prompt(f"id{i}", f"p{i}", source=Image.new("RGB", (9, 5), (222, 0, 0))) for i in range(4))
    )
    sheet = joined(cards(edits, PAIRED, pairs=1))
    middles = [MARGIN + i * (PICTURE + MARGIN) + PICTURE // 2 for i in range(3)]
    assert [sheet.getpixel((x, MARGIN + LINE + PICTURE // 2))[0] for x in middles] == [222, 0, 40]
    assert sheet.width == joined(cards(rollout(4, 2), PAIRED, pairs=1)).width + PICTURE + MARGIN


def test_rows_with_and_without_a_source_share_a_sheet() -> None:
    some = rollout(4, 2)
    mixed = (some.prompts[0], dataclasses.replace(some.prompts[1], source=some.images[0]), *some.prompts[2:])
    sheet = joined(cards(dataclasses.replace(some, prompts=mixed), PAIRED, pairs=2))
    assert shown(sheet, 0, sheet.height // 2) == [0, 40]
    assert shown(sheet, 1, sheet.height // 2) == [0, 80]  # the source, then A


def test_criteria_of_a_kind_stand_together() -> None:
    checks = [("preservation", "p1"), ("instruction", "i1"), ("preservation", "p2")]
    assert _apart(checks) == ["preservation:", "p1", "p2", "instruction:", "i1"]
