"""The figures of rows that were made up, by hand; and what the rows and the sheet show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from arr_rpo.evaluation.bootstrap import Resampling
from arr_rpo.refinement.base import Attempt, best
from arr_rpo.refinement.figures import choices, grades, measured, summary
from arr_rpo.refinement.records import Records
from arr_rpo.refinement.sheet import LINE, MARGIN, PICTURE, sheet
from arr_rpo.shapes.oracles.measure import ShapesOracle
from arr_rpo.types import Cost, Grade, Prompt, UserError

HOW = Resampling(draws=200, confidence=0.9, unit="prompt", seed=0)
RED = {"tag": "colors", "include": [{"class": "circle", "color": "red", "count": 1}]}


def row(name: str, given: list[float | None], strict: list[bool] | None) -> dict[str, Any]:
    shapes = [{"shapes": {"value": float(s), "figures": {"criteria": 0.5 + s / 2}}} for s in strict or ()]
    attempts = [
        {"grade": g, "measured": o, "failure": "" if g is not None else "no reply", "unread": "", "calls": 2, "tokens": 10}
        for g, o in zip(given, shapes or [{}] * len(given), strict=True)
    ]
    return {"prompt_id": name, "kept": best(given), "attempts": attempts}


ROWS = [
    row("a", [0.1, 0.9, 0.5], [False, True, True]),  # kept: right; after two rounds: right
    row("b", [0.2, 0.3, 0.8], [True, True, False]),  # kept: wrong; after two rounds: right
    row("c", [None, None, None], [False, False, True]),  # nothing is known: the first, wrong
    row("d", [1.0], [True]),  # good enough at once
]


def test_who_chooses() -> None:
    found = {name: figure.value for name, figure in choices(*measured(ROWS)["shapes"], HOW).items()}
    assert found == pytest.approx(
        {
            "first": 2 / 4,
            "kept": 2 / 4,
            "random": (2 / 3 + 2 / 3 + 1 / 3 + 1) / 4,
            "best": 4 / 4,
            "kept_minus_first": (1 - 1 + 0 + 0) / 4,
            "kept_minus_random": (1 / 3 - 2 / 3 - 1 / 3 + 0) / 4,
            "best_minus_kept": (0 + 1 + 1 + 0) / 4,
            "after_round_2": 3 / 4,
        }
    )
    assert choices(*measured(ROWS)["shapes/criteria"], HOW)["first"].value == pytest.approx((0.5 + 1 + 0.5 + 1) / 4)


def test_intervals_are_those_of_differences_paired_by_prompt() -> None:
    """Where the kept picture is better for every prompt alike, there is no doubt left, though the pictures differ."""
    rows = [row(str(i), [0.1, 0.9], [False, True]) for i in range(6)]
    gain = choices(*measured(rows)["shapes"], HOW)["kept_minus_first"]
    assert (gain.value, gain.low, gain.high, gain.of) == (1.0, 1.0, 1.0, 6)
    mixed = choices(*measured(ROWS)["shapes"], HOW)["kept"]
    assert mixed.low is not None
    assert mixed.high is not None
    assert mixed.low < 0.5 < mixed.high


def test_counts() -> None:
    found = summary([*ROWS, row("e", [None, 0.5], None)], HOW)
    assert (found["prompts"], found["pictures"], found["rounds"]) == (5, 12, {1: 1, 2: 1, 3: 3})
    assert (found["critiques_failed"], found["critiques_failed_why"], found["ungraded"]) == (4, {"no reply": 4}, 1)
    assert (found["calls"], found["tokens"]) == (24, 120)
    assert found["measured"]["shapes"]["first"]["of"] == 4  # it does not know the fifth
    assert summary([row("e", [0.5], None)], HOW)["measured"] == {}
    first, kept = grades(ROWS, HOW)["first"], grades(ROWS, HOW)["kept"]
    assert (first.value, kept.value, kept.of) == (pytest.approx(1.3 / 3), pytest.approx(2.7 / 3), 3)


def attempts() -> tuple[Attempt, ...]:
    colours = [(200, 10, 10), (10, 10, 200)]
    given = [
        Grade(None, cost=Cost(2, 9), reason="no reply"),
        Grade(0.5, (("objects", "objects", 0.25),), Cost(2, 10), "too dark"),
    ]
    return tuple(
        Attempt(f"text {i}", (1, "p/1", i + 1), Image.new("RGB", (8, 8), colours[i]), given[i], "", Cost(i, 0))
        for i in range(2)
    )


def test_a_record_is_kept_and_read_again(tmp_path: Path) -> None:
    prompt = Prompt("p/1", "a red circle", RED)
    records = Records(tmp_path, {"shapes": ShapesOracle()})
    records.add([prompt], [3], [attempts()])
    again = Records(tmp_path, {})
    assert again.rows == records.rows
    assert again.has(prompt)
    assert not again.has(Prompt("p/2", "a red circle"))
    with pytest.raises(UserError, match="prompt file has changed"):
        again.has(Prompt("p/1", "a blue circle"))
    kept = again.rows["p/1"]
    assert kept["kept"] == 1
    failed, graded = kept["attempts"]
    assert (failed["grade"], failed["critique"], failed["failure"]) == (None, "", "no reply")
    assert (graded["grade"], graded["critique"], graded["failure"]) == (0.5, "too dark", "")
    assert (graded["dimensions"], graded["text"], graded["seed"]) == ({"objects": 0.25}, "text 1", [1, "p/1", 2])
    assert (graded["calls"], graded["tokens"]) == (3, 10)  # with what writing took
    assert graded["measured"]["shapes"]["value"] == 0.0
    with Image.open(tmp_path / graded["picture"]) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(attempts()[1].image))
    with records.path.open("a", encoding="utf-8") as file:
        file.write('{"prompt": "half of')
    with pytest.raises(UserError, match=r"refinement\.jsonl, line 2 is no record"):
        Records(tmp_path, {})


def test_the_sheet_shows_source_attempts_and_which_was_kept(tmp_path: Path) -> None:
    records = Records(tmp_path, {})
    source = Image.new("RGB", (8, 8), (0, 0, 0))
    records.add([Prompt("a", "make it dark", {}, source), Prompt("b", "night")], [0, 1], [attempts(), attempts()[:1]])
    page = np.asarray(sheet(list(records.rows.values()), tmp_path))
    height, step = PICTURE + LINE + 2 * MARGIN, PICTURE + MARGIN
    assert page.shape[0] == 2 * height
    middle = [tuple(page[height // 2 + LINE, MARGIN + k * step + PICTURE // 2]) for k in range(3)]
    assert middle == [(0, 0, 0), (200, 10, 10), (10, 10, 200)]
    titles = [page[: MARGIN + LINE - 2, MARGIN + k * step : MARGIN + k * step + PICTURE] for k in range(3)]
    green = [bool(((t[..., 1] > t[..., 0].astype(int) + 60) & (t[..., 1] > t[..., 2].astype(int) + 60)).any()) for t in titles]
    assert green == [False, False, True]
