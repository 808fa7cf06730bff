"""Rubrics that are told what an annotator likes: their weighted mean is what a picture is worth."""

from __future__ import annotations

import pytest

from arr_rpo.data.prompts import read_prompts
from arr_rpo.noise import Purpose, draws
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.world.asked import truth_of
from arr_rpo.shapes.world.prompts import varied_scene
from arr_rpo.shapes.world.scene import draw
from experiments.hacking.told import criteria, rubrics


def test_what_is_told_is_what_a_picture_is_worth() -> None:
    who, rng = annotators()["hana"], draws(Purpose.SAMPLE, 1, "told")
    prompts = [p for p in read_prompts("shapes/open_heldout")[:40] if who.open_in(p.metadata)]
    assert len(prompts) > 10
    for prompt in prompts:
        image = draw(varied_scene(dict(prompt.metadata), rng))
        things = detection.detect(image)
        said = sum(c.weight * truth_of(c.question, prompt.metadata)(things) for c in criteria(who, prompt))
        assert said == pytest.approx(who.utility(prompt, image))


def test_only_of_prompts_that_leave_something_open() -> None:
    """As many as experiments/unsaid/variety.py has counted for "is there something red?" of shapes/open_train."""
    assert len(list(rubrics(annotators()["ada"], read_prompts("shapes/open_train")))) == 105
