"""A function of the user's as a scorer: what it is given, what it may return, and what it is told where that is wrong."""

from __future__ import annotations

import pytest
from PIL import Image

from arr_rpo.scorer.function import FunctionScorer, scored
from arr_rpo.types import Grade, Prompt, UserError

WHITE, BLACK = Image.new("RGB", (4, 4), "white"), Image.new("RGB", (4, 4), "black")
PROMPTS = [Prompt("a", "one"), Prompt("b", "three", {"bad": True})]
HERE = "tests.scorer.functions"


def values(name: str) -> list[float | None]:
    return [grade.value for grade in FunctionScorer(function=f"{HERE}.{name}").score(PROMPTS, [WHITE, BLACK])]


def test_numbers() -> None:
    assert values("brightness") == [1.0, 0.0]
    assert values("length_of_prompt") == [3.0, 5.0]  # it is given what it names, and may return an array


def test_no_number_is_missing_data() -> None:
    assert FunctionScorer(function=f"{HERE}.picky").score(PROMPTS, [WHITE, BLACK]) == [
        Grade(None, reason="no score"),
        Grade(None, reason="the score nan is no finite number"),
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("too_few", "returned 1 numbers for 2 images"),
        ("words", "a list of numbers is wanted"),
        ("strange", "wants an argument 'pictures'"),
        ("nothing", "no function 'tests.scorer.functions.nothing'"),
        ("np", "is no function"),
    ],
)
def test_what_the_user_can_mend(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        values(name)


def test_a_name_in_no_module() -> None:
    with pytest.raises(UserError, match="Give its dotted name"):
        scored("brightness")
