"""Annotators: who there are, what those held out share with the others, and how they choose."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from arr_rpo.shapes.annotators.people import Annotator, annotator, annotators, chances, followed
from arr_rpo.shapes.oracles.detection import detect
from arr_rpo.shapes.world.scene import draw, place
from arr_rpo.shapes.world.vocabulary import CELLS, COLOURS, SHAPES
from arr_rpo.types import Outcome, Prompt, UserError

DEVELOPING, HELDOUT = ([a for a in annotators().values() if a.group == group] for group in ("developing", "heldout"))
CIRCLE_AND_SQUARE = Prompt("p", "x", {"tag": "two_object", "include": [{"class": s, "count": 1} for s in ("circle", "square")]})


def asked(group: list[Annotator]) -> list[frozenset[str]]:
    return [one.attributes for who in group for one, _ in who.tastes]


def test_half_are_held_out_and_each_has_one_to_three_tastes() -> None:
    assert len(DEVELOPING) == len(HELDOUT) == 10
    for group in (DEVELOPING, HELDOUT):
        assert {len(who.tastes) for who in group} == {1, 2, 3}
        assert all(weight > 0 for who in group for _, weight in who.tastes)
        assert len(asked(group)) == len(set(asked(group)))  # nobody shares a taste within a group either


def test_what_is_shared_is_single_attributes() -> None:
    """A held-out annotator's taste cannot be recalled from the others: no two attributes of one stand together in one of
    theirs, and a taste of one attribute is nobody else's."""
    ours, theirs = asked(DEVELOPING), asked(HELDOUT)
    assert not set(ours) & set(theirs)
    pairs = [{frozenset(p) for one in some for p in itertools.combinations(sorted(one), 2)} for some in (ours, theirs)]
    assert not pairs[0] & pairs[1]
    shared = frozenset().union(*ours) & frozenset().union(*theirs)
    assert shared == {*SHAPES, *COLOURS, *CELLS, "nothing", "above"}


def test_utility_and_checks() -> None:
    """hana: every square blue (1.0), nothing upper left (0.7), all in the left column (0.5), and 3 for the prompt."""
    hana = annotator("hana")
    scene = place([("red", "circle"), ("blue", "square")], [2, 1], np.random.default_rng(0))  # lower left, upper right
    image = draw(scene)
    assert hana.checks(CIRCLE_AND_SQUARE, image) == (
        ("is there a circle?", True),
        ("is there a square?", True),
        ("are there exactly two objects in total?", True),
        ("is every square blue?", True),
        ("is there nothing upper left?", True),
        ("is every object in the left column?", False),
    )
    assert hana.utility(CIRCLE_AND_SQUARE, image) == pytest.approx(3 + 1.0 + 0.7)
    alone = draw(place([("red", "circle")], [2], np.random.default_rng(0)))  # a circle, and no other criterion
    assert followed(CIRCLE_AND_SQUARE, detect(alone)) == pytest.approx(1 / 3)
    assert hana.utility(CIRCLE_AND_SQUARE, alone) == pytest.approx(1 + 0.7 + 0.5)


def test_a_taste_counts_where_the_prompt_leaves_it_open() -> None:
    """The prompt wants a red square, so that it is not hana's to have it blue."""
    include = [{"class": "square", "count": 1, "color": "red"}]
    red_square = Prompt("p", "a photo of a red square", {"tag": "colors", "include": include})
    blue = draw(place([("blue", "square")], [3], np.random.default_rng(0)))
    red = draw(place([("red", "square")], [3], np.random.default_rng(0)))
    hana = annotator("hana")
    assert hana.utility(red_square, red) - hana.utility(red_square, blue) == pytest.approx(3 / 2)  # one of two criteria
    assert "is every square blue?" not in dict(hana.checks(red_square, red))


@pytest.mark.parametrize("gap", [-1.3, 0.0, 0.4, 3.0])
def test_chances_are_davidsons(gap: float) -> None:
    """From the formula as it is printed, with worths exp(gap / T) and 1."""
    a, b, nu = math.exp(gap / 0.35), 1.0, 0.5
    total = a + b + nu * math.sqrt(a * b)
    assert chances(gap, 0.35, nu) == pytest.approx((a / total, nu * math.sqrt(a * b) / total))
    assert chances(gap, 0.35, 0.0)[0] == pytest.approx(1 / (1 + math.exp(-gap / 0.35)))  # Bradley-Terry


def test_a_gap_however_large_is_no_overflow() -> None:
    assert chances(1e6, 0.35, 0.5) == pytest.approx((1.0, 0.0))
    assert chances(-1e6, 0.35, 0.5) == pytest.approx((0.0, 0.0))


def test_choices_come_as_often_as_their_chances() -> None:
    ada, rng = annotator("ada"), np.random.default_rng(1)
    said = [ada.choose(0.5, rng) for _ in range(20_000)]
    shares = [said.count(outcome) / len(said) for outcome in (Outcome.A, Outcome.TIE, Outcome.B)]
    p_a, p_tie = chances(0.5, ada.temperature, ada.ties)
    assert shares == pytest.approx([p_a, p_tie, 1 - p_a - p_tie], abs=0.015)  # four standard errors


def test_nobody_of_that_name() -> None:
    with pytest.raises(UserError, match=r"no annotator is called 'zoe': ada, ben, .*for final studies kim, leo"):
        annotator("zoe")
