"""A policy's pictures of held-out prompts, and what measures say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from PIL.Image import Image

from arr_rpo import ranks
from arr_rpo.measure.base import Measure, Taken, Value
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Prompt

T = TypeVar("T")


@dataclass(frozen=True)
class Seen:
    """What was drawn for some prompts. taken: by the name of each measure. kept: pictures of some, by the prompt's id."""

    taken: dict[str, Taken]
    kept: dict[str, Image]


def seen(
    policy: PipelinePolicy,
    prompts: Sequence[Prompt],
    measures: Mapping[str, Measure],
    seed: int,
    batch_size: int,
    *,
    keep: int = 0,
    base: Callable[[str], Image] | None = None,
) -> Seen:
    """One picture a prompt, as `pictures` draws it, measured. Each process of a run draws and measures its share, a batch at a
    time, of which no picture stays but those that are kept.

    measures: none of them draws the pictures that are kept and no other.
    keep: of how many prompts, at even distances, the picture is kept. base: the picture of before training by the id of its
    prompt; None where these are they.
    """
    chosen = spread(range(len(prompts)), keep)
    rows = range(len(prompts)) if measures else chosen
    share = rows[ranks.share(len(rows))]
    batches = [share[start : start + batch_size] for start in range(0, len(share), batch_size)]
    for measure in measures.values():
        measure.prepare(prompts)
    each: list[tuple[str, str, dict[str, Value]]] = []
    kept: list[tuple[str, Image]] = []
    for batch in batches:
        some = [prompts[row] for row in batch]
        images = policy.generate(some, seed)
        values = {name: _values(measure, some, images, base) for name, measure in measures.items()}
        each += [(p.id, str(p.metadata.get("tag", "")), {n: v[i] for n, v in values.items()}) for i, p in enumerate(some)]
        kept += [(prompt.id, image) for row, prompt, image in zip(batch, some, images, strict=True) if row in chosen]
    for _ in range(ranks.largest(len(batches)) - len(batches) if policy.sharded else 0):
        policy.generate(prompts[:1], seed)  # in vain: sharded weights are put together for a picture by all processes at once
    found = ranks.joined(each)
    tags = {prompt: tag for prompt, tag, _ in found}
    taken = {name: Taken({prompt: values[name] for prompt, _, values in found}, tags) for name in measures}
    return Seen(taken, dict(ranks.joined(kept)))


def _values(
    measure: Measure, prompts: Sequence[Prompt], images: Sequence[Image], base: Callable[[str], Image] | None
) -> list[Value]:
    compared = [base(prompt.id) for prompt in prompts] if base and measure.against_base else None
    return measure.values(prompts, images, compared)


def pictures(policy: PipelinePolicy, prompts: Sequence[Prompt], seed: int, batch_size: int) -> list[Image]:
    """One picture a prompt with the deployment sampler. The same seed gives a prompt, known by its id, the same initial noise
    with any policy, in any company; `batch_size` is a setting of memory."""
    images: list[Image] = []
    for start in range(0, len(prompts), batch_size):
        images += policy.generate(prompts[start : start + batch_size], seed)
    return images


def spread(prompts: Sequence[T], count: int) -> tuple[T, ...]:
    """`count` of them at even distances, or all: files of prompts are sorted by tag, and so each tag is among them."""
    if count >= len(prompts):
        return tuple(prompts)
    return tuple(prompts[number * len(prompts) // count] for number in range(count))
