"""The embedded judge that was taught tastes sees those of held-out annotators too, which it was not taught."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean

import pytest
from hydra.utils import instantiate

from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.oracles.detection import detect
from arr_rpo.shapes.world.tastes import leaves_open, taste
from tests.conftest import configure
from tests.shapes.annotators.test_preferences import pairs


@pytest.mark.parametrize(("name", "at_least", "at_most"), [("shapes_tastes", 0.85, 1.0), ("shapes", 0.0, 0.75)])
def test_what_it_sees_of_tastes_that_nobody_taught_it(name: str, at_least: float, at_most: float) -> None:
    """On drawings of prompts that leave them open; as many yes as no count, so that a coin has 0.5."""
    judge = instantiate(configure([f"judge={name}"]).judge)
    heldout = {one.question for who in annotators().values() if who.group == "heldout" for one, _ in who.tastes}
    asked = [
        (pair.prompt, pair.a, question)
        for pair in pairs(pairs=80)
        for question in sorted(heldout)
        if leaves_open(pair.prompt.metadata, question)
    ]
    right = defaultdict(list)
    for (_, image, question), answer in zip(asked, judge.check(*map(list, zip(*asked, strict=True))), strict=True):
        truth = taste(question).truth(detect(image))
        right[truth].append(answer.value is not None and (answer.value > 0.5) == truth)
    assert at_least <= mean(mean(some) for some in right.values()) <= at_most
