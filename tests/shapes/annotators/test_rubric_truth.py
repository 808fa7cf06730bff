"""Whether a rubric says what an annotator likes, by hand."""

from __future__ import annotations

import pytest

from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.annotators.people import annotator, annotators
from arr_rpo.shapes.annotators.rubric_truth import Said, agreement, said
from arr_rpo.types import Criterion, Prompt, Rubric

# hana: every square blue (1.0), nothing upper left (0.7), every object in the left column (0.5).
HANA = annotator("hana")
SQUARE = Prompt("p", "a photo of a square", {"tag": "single_object", "include": [{"class": "square", "count": 1}]})
BLUE = {"class": "square", "count": 1, "color": "blue"}
BLUE_SQUARE = Prompt("q", "a photo of a blue square", {"tag": "colors", "include": [BLUE]})


def rubric(*questions: str) -> Rubric:
    return Rubric(tuple(Criterion("n", question) for question in questions))


@pytest.mark.parametrize(
    ("questions", "expected"),
    [
        (["is every square blue?"], Said(1, 0, 0, 1 / 2.2)),
        (["is there a blue square?"], Said(1, 0, 0, 1 / 2.2)),  # of one square it is the same
        (["is there something blue?", "is there a blue square?"], Said(2, 0, 0, 1 / 2.2)),  # said twice is covered once
        (["is there a square?", "is every object of the prompt there?"], Said(0, 2, 0, 0.0)),  # of the prompt
        (["is there something red?", "is it pretty?", "is there a circle?"], Said(0, 1, 2, 0.0)),  # no square is a circle
        (["is there a square upper left?"], Said(0, 0, 1, 0.0)),  # the contrary
        (
            ["is every square blue?", "is there nothing upper left?", "is every object in the left column?"],
            Said(3, 0, 0, 1.0),
        ),
    ],
)
def test_of_one_prompt(questions: list[str], expected: Said) -> None:
    found = said(rubric(*questions), SQUARE, HANA)
    assert found is not None
    assert (found.right, found.idle, found.wrong) == (expected.right, expected.idle, expected.wrong)
    assert found.coverage == pytest.approx(expected.coverage)


def test_what_the_prompt_says_is_no_taste() -> None:
    found = said(rubric("is every square blue?", "is there nothing upper left?"), BLUE_SQUARE, HANA)
    assert found is not None
    assert (found.right, found.idle, found.precision) == (1, 1, 1.0)
    assert found.coverage == pytest.approx(0.7 / 1.2)  # of what is open: the cell, and the column
    assert said(rubric("is there something red?"), BLUE_SQUARE, annotator("ada")) is None


def test_means_over_prompts() -> None:
    rubrics = [rubric("is every square blue?", "is there something red?"), rubric("is there a square?"), None]
    found = agreement(rubrics, [SQUARE, SQUARE, SQUARE], HANA)
    assert found.precision == 0.5  # of the first alone: the second asks nothing else
    assert found.coverage == pytest.approx(1 / 2.2 / 3)
    assert (found.exact, found.prompts, found.without) == (0.0, 2, 1)


@pytest.mark.parametrize("name", list(annotators()))
def test_an_annotators_own_words_are_exact(name: str) -> None:
    who = annotator(name)
    prompts = read_prompts("shapes/open_heldout")[::9]
    own = rubric(*[one.question for one, _ in who.tastes])
    found = agreement([own] * len(prompts), prompts, who)
    assert found.coverage == 1.0
    assert (found.precision, found.exact) == (1.0, 1.0)
