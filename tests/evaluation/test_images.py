"""What is measured of pictures, and how far a policy has moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image

from arr_rpo.algorithm.gaussian import gaussian_kl
from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.images import Measured, measurable, measure, spread
from arr_rpo.evaluation.path_kl import path_kl
from arr_rpo.noise import Noise
from arr_rpo.shapes.edits import random_edit, target, to_metadata
from arr_rpo.shapes.scene import Thing, draw
from arr_rpo.types import Prompt, UserError
from tests.conftest import make_policy, make_sampler

CIRCLE, STAR = Thing("red", "circle", 8.5, 8.5, 5.5), Thing("blue", "star", 23.5, 23.5, 5.5)


def asking_for(tag: str, *objects: tuple[str, str]) -> Prompt:
    include = [{"class": shape, "color": color, "count": 1} for color, shape in objects]
    return Prompt(tag, tag, {"tag": tag, "include": include})


def drawn(*things: Thing) -> Image:
    return draw(things)


def test_figures_by_hand() -> None:
    prompts = [asking_for("one", ("red", "circle")), asking_for("two", ("red", "circle"), ("blue", "star"))]
    found = measure(prompts, [drawn(CIRCLE), drawn(CIRCLE)])
    # The second lacks the star: of its three criteria (two objects, two in total) one is met.
    assert (found.strict, found.by_tag) == (0.5, {"one": 1.0, "two": 0.0})
    assert found.criteria == pytest.approx(3 / 5)
    assert found.parts == {"existence": pytest.approx(2 / 3), "total": 0.5}
    assert [one.criteria for one in found.each] == [1.0, pytest.approx(1 / 3)]
    assert set(found.to_dict()) == {"strict", "criteria", "by_tag", "parts", "prompts"}


def test_an_edit_has_two_parts() -> None:
    rng = np.random.default_rng(3)
    source, edit = random_edit(rng)
    prompt = Prompt("e", "edit", to_metadata(source, edit), source=draw(source))
    right = measure([prompt], [draw(target(source, edit, rng))]).each[0]
    assert right.strict and right.parts == {"instruction": 1.0, "preservation": 1.0}
    nothing = measure([prompt], [draw(source)]).each[0]
    assert not nothing.strict and nothing.parts == {"instruction": 0.0, "preservation": 1.0}


@pytest.mark.parametrize("metadata", [{}, {"tag": "single_object", "include": [{"class": "bench", "count": 1}]}])
def test_a_prompt_of_another_world_is_named(metadata: dict[str, Any]) -> None:
    """GenEval's own prompts have metadata of the same form; a bench that nobody can find is no failure of the policy."""
    prompt = Prompt("p/1", "a bench", metadata)
    assert not measurable([prompt])
    with pytest.raises(UserError, match=r"prompt p/1 \('a bench'\) is not of the shapes world"):
        measure([prompt], [drawn()])


def test_parts_of_one_picture() -> None:
    one = Measured("p", "t", (("a", True), ("a", False), ("b", True)))
    assert (one.strict, one.criteria, one.parts) == (False, pytest.approx(2 / 3), {"a": 0.5, "b": 1.0})


def test_spread_is_even_and_without_repeats() -> None:
    prompts = [Prompt(str(n), "") for n in range(10)]
    assert [p.id for p in spread(prompts, 4)] == ["0", "2", "5", "7"]
    assert spread(prompts, 10) == spread(prompts, 99) == tuple(prompts)


def test_path_kl_is_that_of_the_steps_gone_through_twice() -> None:
    policy, prompts, sampler = make_policy(), read_prompts("shapes/heldout")[:3], make_sampler()
    assert path_kl(policy, prompts, 5, sampler) == 0.0  # a fresh adapter is the reference
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.add_(0.05)
    rollout, rows, expected = (
        policy.rollout(prompts, 1, Noise(5, 0), sampler=sampler, keys=[p.id for p in prompts]),
        torch.arange(3),
        0.0,
    )
    for step in range(len(rollout.step_indices)):
        with torch.no_grad():
            now = policy.replay(rollout, rows, step, sampler)
        with torch.no_grad(), policy.adapter.reference():
            then = policy.replay(rollout, rows, step, sampler)
        expected += float(gaussian_kl(now.mean, then.mean, now.std).mean()) * now.mean[0].numel()
    assert path_kl(policy, prompts, 5, sampler) == pytest.approx(expected, rel=1e-4)
    assert expected > 0
    # A prompt's path is its own: the mean over three is that of three measured alone.
    alone = [path_kl(policy, (prompt,), 5, sampler) for prompt in prompts]
    assert sum(alone) / 3 == pytest.approx(expected, rel=1e-4)
    assert path_kl(policy, prompts[::-1], 5, sampler) == pytest.approx(expected, rel=1e-4)
    assert len({round(one, 3) for one in alone}) == 3
