"""What the judge is taught in which step: phases, kinds and their weights; and where its pictures come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from arr_rpo.shapes.recipes.judge_lessons import KINDS, Curriculum, Lessons
from arr_rpo.shapes.recipes.judge_parts import build_model, build_processor
from arr_rpo.shapes.recipes.judge_pictures import PICTURES_A_GROUP, Pools, Studio
from arr_rpo.shapes.recipes.teacher import Teacher

CURRICULUM = Curriculum(
    text_steps=3,
    caption_steps=2,
    steps=40,
    pictured=0.5,
    edits=0.5,
    tastes=0.5,
    single_batch_size=3,
    turns=4,
    pair_batch_size=4,
    writing_batch_size=3,
    caption_batch_size=2,
    naming_batch_size=2,
    tokens_a_pass=600,
    seed=1,
)


@pytest.fixture(scope="module")
def lessons() -> Lessons:
    processor = build_processor()
    studio = Studio(processor.image_processor, "shapes", "shapes_edit", 2, torch.device("cpu"), 0)
    model = build_model(processor)
    rope = model.model.get_rope_index
    return Lessons(Teacher(processor), CURRICULUM, studio.pools(6, 2, 5, 1), model.config.image_token_id, rope)


def test_reading_comes_before_seeing(lessons: Lessons) -> None:
    """No picture on text, descriptions beside text next, then a share of steps in which all conversations show pictures."""
    phases = [CURRICULUM.phase(step, np.random.default_rng((1, step))) for step in range(len(lessons))]
    assert phases[:5] == [(False, False)] * 3 + [(False, True)] * 2
    assert all(pictured == described for pictured, described in phases[5:])
    assert 10 <= sum(pictured for pictured, _ in phases[5:]) <= 30
    for step, (pictured, described) in enumerate(phases[:20]):
        made = lessons.conversations(step, np.random.default_rng((1, step)))
        assert set(made) == set(KINDS) - (set() if described else {"describe"})
        shown = [bool(c.pixels) for c in (*made["single"], *made["pair"], *made["name"])]
        assert shown == [pictured] * len(shown)


def test_each_kind_counts_as_one(lessons: Lessons) -> None:
    """However long its conversations are and over whatever batches they are spread: the loss is a sum of means."""
    for step in (0, 3, *range(5, 15)):
        batches = lessons[step]
        assert len(batches) > 1
        assert all(batch["input_ids"].numel() <= 600 or len(batch["input_ids"]) == 1 for batch in batches)
        sums = torch.zeros(len(KINDS))
        for batch in batches:
            sums.index_add_(0, batch["kinds"], batch["weights"][:, 1:].sum(1))
        there = sums > 0
        assert torch.allclose(sums[there], torch.ones(int(there.sum())), atol=1e-5)
        assert there[:3].all()


def test_a_step_is_decided_by_seed_and_number(lessons: Lessons) -> None:
    def tokens(some: Lessons, step: int) -> list[list[int]]:
        return [batch["input_ids"].tolist() for batch in some[step]]

    assert tokens(lessons, 7) == tokens(lessons, 7) != tokens(lessons, 8)
    other = Lessons(lessons.teacher, replace(CURRICULUM, seed=2), lessons.pools, lessons.image_token, lessons.rope)
    assert tokens(other, 7) != tokens(lessons, 7)


def test_pools_give_drawn_and_sampled_pictures_alike(lessons: Lessons) -> None:
    pools, rng = lessons.pools, np.random.default_rng(0)
    assert [len(some) for some in (pools.drawn, pools.sampled, pools.drawn_edits, pools.sampled_edits)] == [6, 2, 5, 1]
    assert all(len(group.pictures) == PICTURES_A_GROUP for group in (*pools.drawn, *pools.sampled_edits))
    assert all(group.source is not None for group in (*pools.drawn_edits, *pools.sampled_edits))
    given = [pools.any(0.25, rng) for _ in range(400)]
    assert 70 < sum(group.source is not None for group in given) < 130
    sampled = {id(group) for group in (*pools.sampled, *pools.sampled_edits)}
    assert 160 < sum(id(group) in sampled for group in given) < 240


def test_empty_pools_load_no_policy() -> None:
    studio = Studio(build_processor().image_processor, "no such policy", "none", 2, torch.device("cpu"), 0)
    assert studio.pools(0, 0, 0, 0) == Pools([], [], [], [])
