"""A policy's pictures of held-out prompts, measured by the shapes oracle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from PIL.Image import Image

from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.shapes import oracle
from arr_rpo.shapes.questions import questions_of
from arr_rpo.types import Prompt


@dataclass(frozen=True)
class Accuracy:
    """strict: share of prompts with every criterion met; criteria: share of criteria met; by_tag: strict of each."""

    strict: float
    criteria: float
    by_tag: dict[str, float]
    prompts: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(prompts: Sequence[Prompt], images: Sequence[Image]) -> Accuracy:
    """Oracle accuracy of one picture a prompt."""
    met: dict[str, list[list[bool]]] = defaultdict(list)
    for prompt, image in zip(prompts, images, strict=True):
        found = oracle.detect(image)
        met[prompt.metadata["tag"]].append([question.answer(found) for question in questions_of(prompt.metadata)])
    rows = [row for part in met.values() for row in part]
    return Accuracy(
        strict=_mean([all(row) for row in rows]),
        criteria=_mean([answer for row in rows for answer in row]),
        by_tag={tag: _mean([all(row) for row in part]) for tag, part in met.items()},
        prompts=len(rows),
    )


def pictures(policy: PipelinePolicy, prompts: Sequence[Prompt], seed: int, batch_size: int) -> list[Image]:
    """One picture a prompt with the deployment sampler. The same seed gives the same initial noise to any policy."""
    images: list[Image] = []
    for start in range(0, len(prompts), batch_size):
        images += policy.generate(prompts[start : start + batch_size], seed=(seed, start))
    return images


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
