"""The records that travel from prompt to loss. Frozen, and free of imports of our own.

    Prompt -> Rubric -> Rollout -> Verdict -> Rewards -> advantage -> loss

Shape letters: B candidates, P prompts, G candidates a prompt (B = P * G, group by group), T recorded steps.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class UserError(Exception):
    """Something the user can mend. The message names the thing and the fix; entry points print it without a traceback."""


@dataclass(frozen=True)
class Prompt:
    """What an image is asked for. `metadata` follows GenEval (`tag`, `include`, `exclude`).

    source: the picture to edit, where `text` is an instruction. references: further pictures that it speaks of, for pipelines
        that take several ("put the hat of picture 2 on the dog").
    negative: what the picture should be kept from, for pipelines that take a negative prompt; None leaves it to the policy.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: Image | None = None
    references: tuple[Image, ...] = ()
    negative: str | None = None

    def __post_init__(self) -> None:
        if self.references and self.source is None:
            raise ValueError(f"prompt {self.id!r} has references, and no source that they are for")


class Painter(Protocol):
    """Who draws: a policy."""

    def generate(self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[int | str, ...]]) -> list[Image]:
        """One picture a prompt, each from noise of the seed and its own key."""


@dataclass(frozen=True)
class Criterion:
    """One binary question that can be checked on one image alone. `theme` is its heading in a structured rubric."""

    name: str
    question: str
    weight: float = 1.0
    theme: str = ""


@dataclass(frozen=True)
class Rubric:
    """What is asked of the candidates of one prompt, and where that came from.

    `provenance` says who wrote it (`writer`, `writer_revision`), from which template (`template_hash`), and for which prompt.
    """

    criteria: tuple[Criterion, ...]
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.criteria:
            raise ValueError("a rubric needs at least one criterion")


@dataclass(frozen=True)
class Rollout:
    """G candidates for each of P prompts, with what exact replay needs.

    images: B pictures.
    clean_BD: (B, ...) the latents x_0 that were decoded into them.
    latents_BTD: (B, T + 1, ...) the latent before the first recorded step and after each one; T = 0 where no step was
        stochastic.
    means_BTD: (B, T, ...) mean of p(x_{t-1} | x_t) at each recorded step, float32.
    log_probs_BT: (B, T) mean over latent dimensions of log p(x_{t-1} | x_t), nats a dimension.
    step_indices: the T indices of the recorded steps in the schedule.
    first: place of the first prompt among those of the update, of which this may be a part.
    """

    prompts: tuple[Prompt, ...]
    group_size: int
    images: tuple[Image, ...]
    clean_BD: Tensor
    latents_BTD: Tensor
    means_BTD: Tensor
    log_probs_BT: Tensor
    step_indices: tuple[int, ...]
    first: int = 0

    def prompt_of(self, row: int) -> Prompt:
        """The prompt of candidate `row`."""
        return self.prompts[row // self.group_size]

    def pictures_alone(self) -> Rollout:
        """Without tensors, for whoever shows it after the update: they would stay on the GPU until the next one."""
        none = self.clean_BD.new_empty(0)
        return replace(self, clean_BD=none, latents_BTD=none, means_BTD=none, log_probs_BT=none)


class Outcome(enum.StrEnum):
    """What a judge said of a pair. `TIE` is an answer that favours neither; `INCONSISTENT`, where the order of the pictures
    decides, and `FAILED` are missing data."""

    A = "A"
    B = "B"
    TIE = "tie"
    INCONSISTENT = "inconsistent"
    FAILED = "failed"

    @staticmethod
    def higher(a: float, b: float) -> Outcome:
        """Of a pair worth `a` and `b`."""
        return Outcome.TIE if a == b else (Outcome.A if a > b else Outcome.B)

    @property
    def swapped(self) -> Outcome:
        """The same of (B, A)."""
        return {Outcome.A: Outcome.B, Outcome.B: Outcome.A}.get(self, self)


class Reason(enum.StrEnum):
    """Why there is no answer. `judge.reasons` says whose fault each is, and what mends it."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUSY = "busy"
    SERVER_ERROR = "server_error"
    BROKEN_RESPONSE = "broken_response"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    TOO_LONG = "too_long"
    REJECTED = "rejected"
    EMPTY = "empty"
    CUT_OFF = "cut_off"
    ONLY_THOUGHT = "only_thought"
    NOT_JSON = "not_json"
    AMBIGUOUS = "ambiguous"
    OTHER_FORM = "other_form"
    NO_CHOICE = "no_choice"
    OFF_MENU = "off_menu"
    OPEN = "open"
    NO_RUBRIC = "no_rubric"
    UNKNOWN_QUESTION = "unknown_question"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True)
class Cost:
    """What an answer took: model calls (one sequence each) and tokens read or written.

    thought: of the tokens, those that were thought before the answer, where a server counts them. dressed: of the calls, those
    whose reply stood in a dressing that means nothing (a fence, prose around the one object) and was read without it.
    """

    calls: int = 0
    tokens: int = 0
    thought: int = 0
    dressed: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.thought + other.thought,
            self.dressed + other.dressed,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.calls - other.calls,
            self.tokens - other.tokens,
            self.thought - other.thought,
            self.dressed - other.dressed,
        )


@dataclass(frozen=True)
class CriterionCheck:
    """Probability that each image of a pair meets one criterion, both orders averaged.

    leads: a - b where A was shown first, and where it was shown second; None where there was no order, as each image was asked
        about alone.
    """

    name: str
    question: str
    a: float
    b: float
    leads: tuple[float, float] | None = None


@dataclass(frozen=True)
class Verdict:
    """The judge's word on a pair (A, B).

    p_a: probability that A is better, averaged over both orders; None when `outcome` is FAILED.
    p_a_by_order: the two numbers behind the average: (A shown first, A shown second).
    failure: why it is FAILED, as a kind; `reason` has it in words.
    """

    outcome: Outcome
    p_a: float | None
    p_a_by_order: tuple[float, float] | None = None
    checks: tuple[CriterionCheck, ...] = ()
    cost: Cost = Cost()
    reason: str = ""
    failure: Reason | None = None


@dataclass(frozen=True)
class Grade:
    """One image's pointwise grade: 0 (worst) to 1, of a scorer or a sum of rewards in its own unit; None when there is none.

    checks: (name, question, p) of each criterion or dimension behind it: the probability of yes, or a grade scaled to [0, 1].
    reason: why the judge failed, or what it said before it graded. failure: the former as a kind.
    """

    value: float | None
    checks: tuple[tuple[str, str, float], ...] = ()
    cost: Cost = Cost()
    reason: str = ""
    failure: Reason | None = None


@dataclass(frozen=True)
class Answer:
    """What a judge says of one image as a number: to a yes/no question the probability of yes; asked for a grade, 1 to 5
    (expected value over the answer tokens). None when the judge failed."""

    value: float | None
    cost: Cost = Cost()
    reason: str = ""
    failure: Reason | None = None


@dataclass(frozen=True)
class Critique:
    """What is wrong with one image, in words, and then in grades of 1 to 4 (expected values over the answer tokens).

    dimensions: None where one does not apply. value: the overall grade; None when the judge failed.
    """

    text: str
    dimensions: Mapping[str, float | None]
    value: float | None
    cost: Cost = Cost()
    reason: str = ""
    failure: Reason | None = None


@dataclass(frozen=True)
class Preference:
    """A pair of images and which of them people prefer: A, B or tie.

    A writer of rubrics and the bench may look at `better`; a judge is handed `prompt` and the images only.
    """

    id: str
    prompt: Prompt
    a: Image
    b: Image
    better: Outcome
    subset: str = ""


@dataclass(frozen=True)
class Advantages:
    """values_B: (B,) advantage of each candidate; valid_B: (B,) False where the judge had nothing to say.

    The mask travels with the values to the loss, where 0 would be ambiguous: an average candidate is no missing one.
    """

    values_B: Tensor
    valid_B: Tensor


@dataclass(frozen=True)
class Rewards:
    """values_B: (B,) reward of each candidate; valid_B: (B,) False where the judge had nothing to say.

    verdicts: those of the compared pairs, or none; verdict_rows: the rows of A and B of each.
    grades: one a candidate where candidates were graded one by one, or none.
    rubrics: one a prompt, None without.
    parts: of a combined reward, by name, each with its own verdicts or grades; `grades` are then the sums.
    """

    values_B: Tensor
    valid_B: Tensor
    verdicts: tuple[Verdict, ...] = ()
    verdict_rows: tuple[tuple[int, int], ...] = ()
    grades: tuple[Grade, ...] = ()
    rubrics: tuple[Rubric | None, ...] = ()
    cost: Cost = Cost()
    parts: Mapping[str, Rewards] = field(default_factory=dict)

    def judged(self) -> list[tuple[str, Rewards]]:
        """Those that a judge or a scorer gave, with their names: the parts, or these rewards themselves, as ""."""
        return list(self.parts.items()) or [("", self)]
