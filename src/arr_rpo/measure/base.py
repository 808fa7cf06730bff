"""What measures share: one number a picture, the higher the better, and means over prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image

from arr_rpo.types import Cost, Prompt

MAX_FIGURES = 16  # of the figures that only some prompts have: judges name criteria freely


@dataclass(frozen=True)
class Value:
    """What a measure says of the picture of one prompt.

    value: the higher the better; None where it could not be taken, for the `reason` given.
    figures: further numbers by name, such as the share of criteria met.
    met: of a measure with `criteria` of its own, those that count for this prompt, and whether the picture meets them.
    """

    value: float | None
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    met: Mapping[str, bool] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        more = {"reason": self.reason, "met": dict(self.met)}
        return {"value": self.value, "figures": dict(self.figures), **{key: said for key, said in more.items() if said}}


@dataclass(frozen=True)
class Own:
    """What a run itself pays for: its judge, its reward, and where its rubrics come from."""

    judge: Any
    reward: Any
    rubric: Any | None


class Measure(ABC):
    """One number a picture.

    against_base: whether a picture is compared with that of the policy before training, of the same prompt and noise.
    cost: model calls so far, in this process. criteria: of a measure that looks for named things, each with its weight: the
    report shows them beside what the rubric asked.
    """

    against_base = False
    cost = Cost()
    criteria: Mapping[str, float] = {}

    def begin(self, own: Own | None) -> None:  # noqa: B027 - most need nothing
        """Told of the run's own reward, before anything is measured; None where there is none."""

    def why_not(self, prompts: Sequence[Prompt]) -> str:
        """Why it has nothing to say of these prompts; empty where it has."""
        return ""

    def prepare(self, prompts: Sequence[Prompt]) -> None:  # noqa: B027
        """Told of the prompts to come, by all processes at once."""

    @abstractmethod
    def values(self, prompts: Sequence[Prompt], images: Sequence[Image], base: Sequence[Image] | None) -> list[Value]:
        """Of each picture. base: those of before training, where `against_base`; None where these are they."""


@dataclass(frozen=True)
class Taken:
    """A measure of the pictures of some prompts, each known by its id."""

    by_prompt: Mapping[str, Value]
    tags: Mapping[str, str]

    @property
    def mean(self) -> float | None:
        """Over the prompts with a value; None without any."""
        return mean(value.value for value in self.by_prompt.values())

    @property
    def missing(self) -> int:
        """Prompts without a value."""
        return sum(value.value is None for value in self.by_prompt.values())

    @property
    def by_tag(self) -> dict[str, float]:
        """The mean over the prompts of each tag, where prompts have tags."""
        values: dict[str, list[float | None]] = defaultdict(list)
        for name, value in self.by_prompt.items():
            if self.tags[name]:
                values[self.tags[name]].append(value.value)
        return {tag: found for tag, some in values.items() if (found := mean(some)) is not None}

    @property
    def figures(self) -> dict[str, float]:
        """The mean of each further figure over the prompts that have it; of those that only some have, the most common."""
        count = Counter(name for value in self.by_prompt.values() for name in value.figures)
        kept = {name for name, _ in count.most_common(MAX_FIGURES)} | {n for n, c in count.items() if c == len(self.by_prompt)}
        means = {n: mean(v.figures.get(n) for v in self.by_prompt.values()) for n in count if n in kept}
        return {name: found for name, found in means.items() if found is not None}

    def of(self, ids: Iterable[str]) -> Taken:
        """The same of some prompts only."""
        return Taken({name: self.by_prompt[name] for name in ids}, self.tags)


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None of none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
