"""How candidates are put into calls of a pipeline, and what pictures a call is given of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from arr_rpo import ranks
from arr_rpo.types import Prompt, UserError


class Calls(NamedTuple):
    """The rows of each pipeline call, and of calls in vain: sharded weights are put together for a call by all processes at
    once, so that all of them make as many."""

    own: list[slice]
    idle: list[slice]


def calls_of(candidates: Sequence[Prompt], batch_size: int, sharded: bool, all_guided: bool = False) -> Calls:
    """Neighbours whose sources have one size go together; a prompt with references is alone.

    all_guided: whether prompts without a negative one of their own are given another.

    Raises:
        UserError: sharded weights would be put together more often for some candidates than for others.
    """
    if sharded and not all_guided:
        kinds = {kind for some in ranks.gathered({prompt.negative is None for prompt in candidates}) for kind in some}
        if len(kinds) > 1:
            raise UserError(
                "trainer=fsdp2: some prompts have a negative one and some have none, and a guided call takes twice as many "
                "passes, for which the other processes would wait: give policy.call.negative_prompt, which those without "
                "take, or trainer=ddp"
            )
    own, first = [], 0
    for row in range(1, len(candidates) + 1):
        if row - first < batch_size and row < len(candidates) and _joins(candidates[first], candidates[row]):
            continue
        own.append(slice(first, row))
        first = row
    return Calls(own, own[:1] * (ranks.largest(len(own)) - len(own)) if sharded else [])


def pictures_of(prompt: Prompt, most: int, longest_side: int | None) -> list[Image.Image]:
    """What the pipeline is shown with a prompt (`policy.max_pictures`, `policy.max_source_side`).

    Raises:
        UserError: the prompt brings more.
    """
    if prompt.source is None:
        return []
    pictures = [prompt.source, *prompt.references]
    if len(pictures) > most:
        raise UserError(
            f"prompt {prompt.id!r} brings {len(pictures)} pictures, and the policy takes policy.max_pictures={most}: leave "
            "references out, or take a pipeline of several pictures (docs/models.md)"
        )
    return [_within(picture, longest_side) for picture in pictures]


def _within(picture: Image.Image, side: int | None) -> Image.Image:
    if side is None or max(picture.size) <= side:
        return picture
    smaller = picture.copy()
    smaller.thumbnail((side, side), Image.Resampling.LANCZOS)
    return smaller


def _joins(one: Prompt, other: Prompt) -> bool:
    """Whether two candidates may share a pipeline call."""
    sizes = [prompt.source and prompt.source.size for prompt in (one, other)]
    guided = (one.negative is None) == (other.negative is None)  # without one, some pipelines do without guidance
    return guided and sizes[0] == sizes[1] and not (one.references or other.references)
