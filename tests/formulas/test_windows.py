"""Which steps are stochastic."""

from __future__ import annotations

import pytest

from arr_rpo.formulas import windows
from arr_rpo.types import UserError


def test_all_and_fixed() -> None:
    assert windows.all_steps(5, 7, 0.3) == range(7)
    assert windows.fixed(5, 7, 0.3, start=2, size=3) == range(2, 5)


def test_random_covers_every_place() -> None:
    places = {windows.random(0, 7, draw / 100, size=3) for draw in range(100)}
    assert places == {range(start, start + 3) for start in range(5)}


def test_progressive_slides_and_starts_again() -> None:
    starts = [windows.progressive(update, 7, 0.0, size=3, every=2, stride=2).start for update in range(8)]
    assert starts == [0, 0, 2, 2, 4, 4, 0, 0]


@pytest.mark.parametrize(("start", "size"), [(5, 3), (-1, 2), (0, 0), (0, 8)])
def test_what_does_not_fit_is_refused(start: int, size: int) -> None:
    with pytest.raises(UserError, match=r"sampler\.window"):
        windows.fixed(0, 7, 0.0, start=start, size=size)


@pytest.mark.parametrize("window", [windows.random, lambda *a, size: windows.progressive(*a, size=size, every=1, stride=1)])
def test_a_window_longer_than_the_rollout_is_refused(window: object) -> None:
    with pytest.raises(UserError, match="8 steps"):
        window(0, 7, 0.0, size=8)  # type: ignore[operator]
