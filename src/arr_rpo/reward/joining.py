"""The rewards of several rollouts as those of one, and pictures alone as a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from arr_rpo.types import Cost, Prompt, Rewards, Rollout

if TYPE_CHECKING:
    from PIL.Image import Image


def together(parts: Sequence[Rewards], group_size: int) -> Rewards:
    """Of the candidates of all parts, in their order; each part is of whole groups."""
    if len(parts) == 1:
        return parts[0]
    first = [sum(len(part.values_B) for part in parts[:number]) for number in range(len(parts))]
    assert all(row % group_size == 0 for row in first)
    return Rewards(
        values_B=torch.cat([part.values_B for part in parts]),
        valid_B=torch.cat([part.valid_B for part in parts]),
        verdicts=tuple(verdict for part in parts for verdict in part.verdicts),
        verdict_rows=tuple((at + a, at + b) for at, part in zip(first, parts, strict=True) for a, b in part.verdict_rows),
        grades=tuple(grade for part in parts for grade in part.grades),
        rubrics=tuple(rubric for part in parts for rubric in part.rubrics),
        cost=sum((part.cost for part in parts), Cost()),
        parts={name: together([part.parts[name] for part in parts], group_size) for name in parts[0].parts},
    )


def of_pictures(prompts: Sequence[Prompt], group_size: int, images: Sequence[Image]) -> Rollout:
    """What a reward needs of a rollout, for pictures that no training draws."""
    none = torch.empty(0)
    return Rollout(tuple(prompts), group_size, tuple(images), none, none, none, none, ())
