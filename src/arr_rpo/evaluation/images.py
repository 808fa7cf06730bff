"""A policy's pictures of held-out prompts, measured by the shapes oracle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from PIL.Image import Image

from arr_rpo import ranks
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.shapes import oracle
from arr_rpo.shapes.asked import of_this_world
from arr_rpo.shapes.edit_oracle import judge_prompt
from arr_rpo.shapes.edits import INSTRUCTION, PRESERVATION
from arr_rpo.shapes.questions import questions_of
from arr_rpo.types import Prompt, UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """The picture of one prompt. answers: (name, met) of each criterion; names are its sorts, and some come more than once."""

    prompt_id: str
    tag: str
    answers: tuple[tuple[str, bool], ...]

    @property
    def strict(self) -> bool:
        return all(met for _, met in self.answers)

    @property
    def criteria(self) -> float:
        """Share of the criteria met."""
        return _mean([met for _, met in self.answers])

    @property
    def parts(self) -> dict[str, float]:
        """The same of each name: of an edit, `instruction` and `preservation`."""
        return parts([self])

    def to_dict(self) -> dict[str, Any]:
        return {"strict": self.strict, "criteria": self.criteria, "parts": self.parts}


@dataclass(frozen=True)
class Accuracy:
    """strict: share of prompts with every criterion met; criteria: share of criteria met; by_tag: strict of each tag;
    parts: share of criteria met of each name; each: what these are figures of."""

    strict: float
    criteria: float
    by_tag: dict[str, float]
    parts: dict[str, float]
    each: tuple[Measured, ...]

    @staticmethod
    def of(each: Sequence[Measured]) -> Accuracy:
        by_tag: dict[str, list[bool]] = defaultdict(list)
        for one in each:
            by_tag[one.tag].append(one.strict)
        return Accuracy(
            strict=_mean([one.strict for one in each]),
            criteria=_mean([met for one in each for _, met in one.answers]),
            by_tag={tag: _mean(strict) for tag, strict in by_tag.items()},
            parts=parts(each),
            each=tuple(each),
        )

    @property
    def prompts(self) -> int:
        return len(self.each)

    def to_dict(self) -> dict[str, Any]:
        """The figures, without `each`."""
        figures = {"strict": self.strict, "criteria": self.criteria, "by_tag": self.by_tag, "parts": self.parts}
        return {**figures, "prompts": self.prompts}


def measurable(prompts: Sequence[Prompt]) -> bool:
    """Whether the oracle knows what is right for each of the prompts."""
    return all(of_this_world(prompt.metadata) for prompt in prompts)


def measure(prompts: Sequence[Prompt], images: Sequence[Image]) -> Accuracy:
    """Oracle accuracy of one picture a prompt.

    Raises:
        UserError: a prompt is not of the shapes world.
    """
    for prompt in prompts:
        if not measurable([prompt]):
            raise UserError(
                f"prompt {prompt.id} ({prompt.text!r}) is not of the shapes world: nobody knows what is right for it"
            )
    return Accuracy.of([Measured(p.id, p.metadata["tag"], _answers(p, i)) for p, i in zip(prompts, images, strict=True)])


@dataclass(frozen=True)
class Seen:
    """What was drawn for some prompts. accuracy: None where nobody knows what is right. kept: pictures of some, by id."""

    accuracy: Accuracy | None
    kept: dict[str, Image]


def seen(policy: PipelinePolicy, prompts: Sequence[Prompt], seed: int, batch_size: int, keep: int = 0) -> Seen:
    """One picture a prompt, as `pictures` draws it, measured where the oracle knows all of them. Each process of a run draws
    and measures its share, a batch at a time.

    keep: of how many prompts, at even distances, the picture is kept.
    """
    share, known = ranks.share(len(prompts)), measurable(prompts)
    batches = [range(start, min(start + batch_size, share.stop)) for start in range(share.start, share.stop, batch_size)]
    chosen = set(spread(range(len(prompts)), keep))
    each: list[Measured] = []
    kept: list[tuple[str, Image]] = []
    for rows in batches:
        some = [prompts[row] for row in rows]
        images = policy.generate(some, seed)
        each += measure(some, images).each if known else ()
        kept += [(prompt.id, image) for row, prompt, image in zip(rows, some, images, strict=True) if row in chosen]
    for _ in range(ranks.largest(len(batches)) - len(batches)):
        policy.generate(prompts[:1], seed)  # in vain: sharded weights are put together for a picture by all processes at once
    found = ranks.joined(each)
    return Seen(Accuracy.of(found) if known else None, dict(ranks.joined(kept)))


def parts(each: Sequence[Measured]) -> dict[str, float]:
    """Share of the criteria met, of each name."""
    met: dict[str, list[bool]] = defaultdict(list)
    for name, answer in (answer for one in each for answer in one.answers):
        met[name].append(answer)
    return {name: _mean(answers) for name, answers in met.items()}


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


def _answers(prompt: Prompt, image: Image) -> tuple[tuple[str, bool], ...]:
    """The prompt's own criteria; of an edit its two sorts, to the pixel."""
    if prompt.source is not None and "edit" in prompt.metadata:
        result = judge_prompt(prompt, image)
        return (INSTRUCTION, result.instruction), (PRESERVATION, result.preservation)
    found = oracle.detect(image)
    return tuple((question.kind, question.answer(found)) for question in questions_of(prompt.metadata))


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
