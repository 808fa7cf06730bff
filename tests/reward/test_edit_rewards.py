"""Every configuration of the group `reward` on edits of a drawn source, judged by the oracle and by a coin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL.Image import Image

from arr_rpo.data.prompts import read_prompts
from arr_rpo.judge.rubric_reply import parse_rubric
from arr_rpo.shapes.world.edits import from_metadata, others, target
from arr_rpo.shapes.world.scene import draw
from arr_rpo.types import Prompt, Rewards, Rollout, Rubric
from tests.conftest import configure
from tests.reward.test_configs import NAMES

RNG = np.random.default_rng(3)
CASES = [(p, *from_metadata(p.metadata)) for p in read_prompts("shapes/edit_heldout")[:20]]
PROMPTS = tuple(prompt for prompt, source, edit in CASES if others(edit, source))[:10]


def right(prompt: Prompt) -> Image:
    return draw(target(*from_metadata(prompt.metadata), RNG))


def result_alone(prompt: Prompt) -> Image:
    """What the edit makes, in its place, and nothing of the source."""
    source, edit = from_metadata(prompt.metadata)
    return draw(tuple(thing for thing in target(source, edit, RNG) if thing not in source))


def unchanged(prompt: Prompt) -> Image:
    assert prompt.source is not None
    return prompt.source


def rewarded(judge: str, name: str, worse: list[Image]) -> Rewards:
    """Of two candidates a prompt, the right edit and another picture."""
    config = configure(["experiment=t2i_rpo", f"judge={judge}", f"reward={name}"])
    reward, answering = instantiate(config.reward), instantiate(config.judge)
    images = tuple(image for prompt, other in zip(PROMPTS, worse, strict=True) for image in (right(prompt), other))
    rubrics: list[Rubric | None] = [None] * len(PROMPTS)
    if reward.uses_rubric:
        rubrics = [parse_rubric(text, {}) for text in answering.writer.write(PROMPTS)[0]]
    made = Rollout(PROMPTS, 2, images, *[torch.zeros(len(images), 1)] * 4, ())
    return reward(answering, made, rubrics)  # type: ignore[no-any-return]


@pytest.mark.parametrize("cheat", [unchanged, result_alone], ids=lambda cheat: cheat.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_a_cheat_earns_less_than_the_edit(name: str, cheat: object) -> None:
    got = rewarded("oracle", name, [cheat(prompt) for prompt in PROMPTS])  # type: ignore[operator]
    good, bad = got.values_B.view(-1, 2).T
    assert got.valid_B.all()
    assert (good > bad).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_random_judge_plays_every_part(name: str) -> None:
    got = rewarded("random", name, [unchanged(prompt) for prompt in PROMPTS])
    good, bad = got.values_B.view(-1, 2).T
    assert got.valid_B.all()
    assert not (good > bad).all()
