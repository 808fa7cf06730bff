"""What the embedded judge learns in a step: conversations in phases, as batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from arr_rpo.shapes.recipes.judge_data import Conversation, Group, Row, collate, of_like_length
from arr_rpo.shapes.recipes.judge_pictures import PICTURES_A_GROUP, Pools, imagined, imagined_open
from arr_rpo.shapes.recipes.taught import loosened
from arr_rpo.shapes.recipes.teacher import Teacher

KINDS = ("single", "pair", "write", "describe", "name")  # of conversations; each has a loss of its own


@dataclass(frozen=True)
class Curriculum:
    """First `text_steps` of conversations about imagined pictures, whose descriptions are given; then `caption_steps` in which
    pictures are described as well; then `steps` of which a share `pictured` shows pictures. A share `edits` is about edits.
    tastes: see `Teacher`; of the prompts with two colours this share says one of them.

    *_batch_size: conversations of a kind in a step; turns: questions in one about a single picture; tokens_a_pass: the most in
    a batch, padding included.
    """

    text_steps: int
    caption_steps: int
    steps: int
    pictured: float
    edits: float
    tastes: float
    single_batch_size: int
    turns: int
    pair_batch_size: int
    writing_batch_size: int
    caption_batch_size: int
    naming_batch_size: int
    tokens_a_pass: int
    seed: int

    def phase(self, step: int, rng: np.random.Generator) -> tuple[bool, bool]:
        """Whether the conversations of a step show pictures, and whether pictures are described in it."""
        looking = step - self.text_steps  # the steps since there are pictures
        pictured = looking >= self.caption_steps and rng.random() < self.pictured
        return pictured, pictured or 0 <= looking < self.caption_steps


class Lessons(Dataset[list[dict[str, Tensor]]]):
    """Item i: the batches of step i, decided by (seed, i) alone.

    A batch is what `Qwen3VLForConditionalGeneration` is called with, and beside it `kinds` (B,), indices of `KINDS`, and
    `weights` (B, L): how much each token counts, so that the sum of weight times cross-entropy over a step's batches is the
    sum over kinds of their mean loss.

    pools: where pictures come from; those of a curriculum of text alone may be empty. rope: `Qwen3VLModel.get_rope_index`.
    """

    def __init__(
        self, teacher: Teacher, curriculum: Curriculum, pools: Pools, image_token: int, rope: Callable[..., Any]
    ) -> None:
        self.teacher, self.curriculum, self.pools = teacher, curriculum, pools
        self.image_token, self.rope = image_token, rope

    def __len__(self) -> int:
        return self.curriculum.text_steps + self.curriculum.caption_steps + self.curriculum.steps

    def __getitem__(self, step: int) -> list[dict[str, Tensor]]:
        lesson = self.conversations(step, np.random.default_rng((self.curriculum.seed, step)))
        totals = {kind: sum(sum(c.weights[1:]) for c in made) for kind, made in lesson.items()}  # none predicts the first token
        rows = [Row(c, KINDS.index(kind), totals[kind]) for kind, made in lesson.items() for c in made]
        return [collate(part, self.image_token, self.rope) for part in of_like_length(rows, self.curriculum.tokens_a_pass)]

    def conversations(self, step: int, rng: np.random.Generator) -> dict[str, list[Conversation]]:
        """By kind."""
        some, teacher = self.curriculum, self.teacher
        pictured, described = some.phase(step, rng)

        def show(edits: float = some.edits) -> Group:
            group = self.pools.any(edits, rng) if pictured else imagined(edits, rng)
            return replace(group, metadata=loosened(group.metadata, rng, some.tastes)) if some.tastes else group

        def name() -> Conversation:
            """Half of the pictures follow a prompt that leaves something open, so that they differ in tastes alone."""
            while True:
                group = show(0.0) if rng.random() < 0.5 else (self.pools.any_open(rng) if pictured else imagined_open(rng))
                if (conversation := teacher.naming(group, rng)) is not None:
                    return conversation

        lesson = {
            "single": [teacher.single(show(), rng, some.turns) for _ in range(some.single_batch_size)],
            "pair": [teacher.pair(show(), rng) for _ in range(some.pair_batch_size)],
            "write": [teacher.writing(show(), rng) for _ in range(some.writing_batch_size)],
        }
        if some.naming_batch_size:
            lesson["name"] = [name() for _ in range(some.naming_batch_size)]
        if described:
            groups = [self.pools.any(some.edits, rng) for _ in range(some.caption_batch_size)]
            lesson["describe"] = [teacher.describing(g.pictures[int(rng.integers(PICTURES_A_GROUP))]) for g in groups]
        return lesson
