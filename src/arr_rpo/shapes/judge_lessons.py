"""What the embedded judge learns in a step: conversations in phases, as batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from arr_rpo.shapes.judge_data import Conversation, collate, of_like_length
from arr_rpo.shapes.judge_pictures import PICTURES_A_GROUP, Pools, imagined
from arr_rpo.shapes.teacher import Teacher

Rng = np.random.Generator
ROLES = ("single", "pair", "write", "describe")


class Lessons(Dataset[list[dict[str, Tensor]]]):
    """Item i: the lesson of step i, decided by (seed, i) alone: batches of at most `tokens_a_pass` tokens with padding.

    A batch is what `Qwen3VLForConditionalGeneration` is called with, and beside it `roles` (B,), indices of `ROLES`, and
    `weights` (B, L): how much each token counts, so that the sum of weight times cross-entropy over a lesson's batches is the
    sum over roles of their mean loss.

    First `text_steps` of conversations about imagined pictures, whose descriptions are given; then `caption_steps` in which
    pictures are described as well; then `steps` of which a share `pictured` shows pictures. A share `edits` is about edits.

    Args:
        p: the recipe's arguments, by name.
        pools: where pictures come from; None while there is none to show.
        rope: `Qwen3VLModel.get_rope_index`.
    """

    def __init__(self, teacher: Teacher, p: Any, pools: Pools | None, image_token: int, rope: Callable[..., Any]) -> None:
        self.teacher, self.p, self.pools, self.image_token, self.rope = teacher, p, pools, image_token, rope

    def __len__(self) -> int:
        return int(self.p.text_steps + self.p.caption_steps + self.p.steps)

    def __getitem__(self, step: int) -> list[dict[str, Tensor]]:
        lesson = self.conversations(step, np.random.default_rng((self.p.seed, step)))
        totals = {role: sum(sum(c.weights[1:]) for c in made) for role, made in lesson.items()}
        everything = [(c, ROLES.index(role), totals[role]) for role, made in lesson.items() for c in made]
        parts = of_like_length(everything, self.p.tokens_a_pass)
        return [collate(part, self.image_token, self.rope) for part in parts]

    def conversations(self, step: int, rng: Rng) -> dict[str, list[Conversation]]:
        """By role."""
        p, teacher = self.p, self.teacher
        looking = step - p.text_steps  # the steps since there are pictures
        pictured = looking >= p.caption_steps and rng.random() < p.pictured

        def show() -> Any:
            return self._pools.any(p.edits, rng) if pictured else imagined(p.edits, rng)

        lesson = {
            "single": [teacher.single(show(), rng, p.turns) for _ in range(p.single_batch_size)],
            "pair": [teacher.pair(show(), rng) for _ in range(p.pair_batch_size)],
            "write": [teacher.writing(show(), rng) for _ in range(p.writing_batch_size)],
        }
        if pictured or 0 <= looking < p.caption_steps:
            groups = [self._pools.any(p.edits, rng) for _ in range(p.caption_batch_size)]
            lesson["describe"] = [teacher.describing(g.pictures[int(rng.integers(PICTURES_A_GROUP))]) for g in groups]
        return lesson

    @property
    def _pools(self) -> Pools:
        assert self.pools is not None, "there are pictures to be shown"
        return self.pools
