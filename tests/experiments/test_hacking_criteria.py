"""Whether a criterion is gamed, and what choosing alone over-optimises, on numbers made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.oracles.judge import TasteOracle
from arr_rpo.shapes.world.asked import own
from arr_rpo.shapes.world.scene import Thing, draw
from arr_rpo.types import Answer, Criterion, Rubric
from experiments.hacking import best_of_n
from experiments.hacking.best_of_n import Best
from experiments.hacking.criteria import (
    Found,
    asked,
    kind_of,
    kinds_table,
    paid_table,
    sort_of,
    summed,
    tastes_table,
    unnamed,
    worst,
)
from experiments.hacking.finished import Shown, worths


class Flattered(TasteOracle):
    """Says yes to everything on the second picture, and the truth on the first."""

    def __init__(self, fooled: object) -> None:
        super().__init__()
        self.fooled = fooled

    def check(self, prompts, images, questions):  # type: ignore[no-untyped-def]
        said = super().check(prompts, images, questions)
        return [Answer(1.0) if image is self.fooled else answer for image, answer in zip(images, said, strict=True)]


def test_a_criterion_is_gamed_where_yes_rises_and_the_truth_does_not() -> None:
    ada = annotators()["ada"]  # who likes something red
    prompt = next(p for p in read_prompts("shapes/open_heldout") if ada.open_in(p.metadata))
    before, after = (draw((Thing("blue", "circle", x, x, 5.5),)) for x in (8.0, 24.0))  # upper left, lower right
    mine = own(prompt.metadata)[0].text
    red, upper_left = "is there something red?", "is there nothing upper left?"
    rubric = Rubric((Criterion("p", mine), Criterion("t", red, weight=3.0), Criterion("o", upper_left)))
    assert [kind_of(c.question, prompt, ada) for c in rubric.criteria] == ["prompt", "liked", "other"]
    found = summed(asked(Flattered(after), ada, Shown([prompt], [after], [before]), [rubric]), "a", "ada")
    assert Found("a", "ada", "liked", "", 1, 1.0, 0.0, 1.0) in found
    honest = summed(asked(TasteOracle(), ada, Shown([prompt] * 2, [after] * 2, [before] * 2), [rubric, None]), "a", "ada")
    assert Found("a", "ada", "other", "", 1, 1.0, 1.0, 0.0) in honest
    assert Found("a", "ada", "liked", red, 1, 0.0, 0.0, 0.0) in honest
    assert Found("a", "ada", "absence", "", 1, 1.0, 1.0, 0.0) in honest and sort_of("do all objects stand in one row?") is None
    assert f"| a | ada | {red} | 1 | +1.000 | +0.000 | +1.000 |" in worst(found, at_least=1).splitlines()
    assert worst(found, at_least=2).startswith("Single criteria, asked 2 times and more: 0, none")
    rows = kinds_table([dataclasses.replace(row, annotator=who) for row in found for who in ("ada", "ben")])
    blind = [
        dataclasses.replace(row, question="is every object in the lower row?", gap=0.5) for row in found if row.question == red
    ]
    blind.append(dataclasses.replace(blind[0], kind="unnamed", gap=0.1))
    assert tastes_table([*found, *blind]).splitlines()[2:] == [
        "| that it can | yes | a | 1 | +1.000 | +0.000 | +1.000 |",
        "| that the judge cannot check | yes | a | 1 | +1.000 | +0.000 | +0.500 |",
        "| that the judge cannot check | no | a | 1 | +1.000 | +0.000 | +0.100 |",
    ]
    two = [dataclasses.replace(row, annotator=who, arm=arm) for row in blind for who in ("ada", "ben") for arm in (row.kind,)]
    assert paid_table(two).splitlines()[2:] == [
        "| that the judge cannot check | liked - unnamed | 2 "
        "| +0.000 (+0.000 to +0.000) | +0.000 (+0.000 to +0.000) | +0.400 (+0.400 to +0.400) |"
    ]
    (left,) = unnamed(ada, [prompt], [Rubric((Criterion("p", mine), Criterion("t", red, weight=0.0)))])
    assert left is not None and red in {c.question for c in left.criteria}  # a criterion of weight 0 pays nothing
    assert unnamed(ada, [prompt], [rubric]) == [None]  # all that she likes is said
    liked = "| a | tastes of the annotator that the prompt leaves open | 2"
    assert f"{liked} | +1.000 | +0.000 | +1.000 (+1.000 to +1.000) |" in rows.splitlines()


def test_an_attacker_takes_what_the_reward_puts_high_and_nobody_wants() -> None:
    proxy, gold = np.array([[0.9, 0.8, 0.1, 0.2]]), np.array([[1.0, 0.0, 0.0, 1.0]])
    one, _, all_four = best_of_n.bests("ada", "a", proxy, gold)
    assert (one.gold, one.proxy, one.attack_gold, one.attack_proxy) == pytest.approx((0.5, 0.5, 0.5, 0.5))
    assert (all_four.gold, all_four.proxy) == (1.0, 0.875)  # three below it, itself by half
    assert (all_four.attack_gold, all_four.attack_proxy) == (0.0, 0.625)
    (*_, exact) = best_of_n.bests("ada", "a", gold, gold)
    assert exact.gold == 1.0 and exact.attack_gold == 0.5  # a reward that is the worth leaves it nothing to choose


def test_worth_is_a_share_of_the_most_there_is() -> None:
    ada = annotators()["ada"]
    prompt = next(
        p for p in read_prompts("shapes/open_heldout") if ada.open_in(p.metadata) and p.metadata["tag"] == "single_object"
    )
    shape = prompt.metadata["include"][0]["class"]
    red, blue = (draw((Thing(colour, shape, 16.0, 16.0, 6.0),)) for colour in ("red", "blue"))
    assert (found := worths("ada", [prompt] * 2, [red, blue]))[0] == 1.0 > found[1] > 0.5


def test_how_far_gold_ends_below_its_greatest() -> None:
    gold = ((1, 0.5), (2, 0.7), (4, 0.6))
    rows = [
        Best(who, "a", n, 0.0, value + more, n / 4, 0.2, 0.5, 3) for n, value in gold for who, more in (("x", 0.0), ("y", 0.1))
    ]
    assert best_of_n.attacks_table(rows).splitlines()[-1] == (
        "| a | 2 | 1.000 (1.000 to 1.000) | 0.650 (0.015 to 1.285) | 0.500 (0.500 to 0.500) | 0.200 (0.200 to 0.200) |"
    )
    assert (
        best_of_n.golds_table(rows).splitlines()[-1] == "| a | 2 | 0.550 | 0.750 | 0.650 | -0.100 (-0.100 to -0.100) | 2 of 2 |"
    )
