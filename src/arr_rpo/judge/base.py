"""The protocols of judges and writers, and how two answers to a pair, one in each order, become a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from PIL.Image import Image

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.types import Answer, Cost, Criterion, CriterionCheck, Critique, Outcome, Preference, Prompt, Rubric, Verdict

Pair = tuple[Image, Image]
# What a writer is asked of a labelled pair: what explains it, of its prompt or of any, or all that is true of the better image
# alone, which the labels of other pairs are to choose from.
Explaining: TypeAlias = Literal["write_pair", "write_general", "write_taste"]


class Judge(Protocol):
    """Who answers. Frozen, and without a field for labels: what a judge is not shown it cannot leak.

    Every method takes sequences of one length and answers in their order. What could not be answered is an answer with a
    reason and without a number.
    """

    name: str
    revision: str

    @property
    def writer(self) -> Writer:
        """The same model as a writer of rubrics."""

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        """Which image of each pair is better, both orders asked, by the rubric where there is one."""

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Answer]:
        """A grade of 1 to 5 for each image."""

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Whether question i is to be answered yes on image i, made for prompt i."""

    def critique(self, prompts: Sequence[Prompt], images: Sequence[Image], dimensions: Sequence[str]) -> list[Critique]:
        """What is wrong with each image, in words, and then its grades (RationalRewards)."""

    def plan(self, prompts: Sequence[Prompt], pairs: Sequence[Pair]) -> tuple[Sequence[str | NoAnswer], Cost]:
        """A neutral checklist of what the images of each pair disagree on, as the text that came back, or why none did
        (DeltaRubric)."""


def account(judge: Judge) -> dict[str, Any]:
    """What happened on the way to a judge's answers so far, for the record of a run; empty of one that keeps no account."""
    return dict(getattr(judge, "account", dict)())


class Writer(Protocol):
    """Who writes rubrics. A reply is the text of a JSON object, which `rubric_reply` reads, or why there is none."""

    name: str
    revision: str

    def write(self, prompts: Sequence[Prompt]) -> tuple[Sequence[str | NoAnswer], Cost]:
        """A rubric for each prompt, from the prompt alone."""

    def write_from_pairs(self, pairs: Sequence[Preference], *, role: Explaining) -> tuple[Sequence[str | NoAnswer], Cost]:
        """The criteria that explain each preference: for its prompt, for any prompt, or all that might."""

    def refine(
        self, pairs: Sequence[Preference], rubrics: Sequence[Rubric], verdicts: Sequence[Verdict]
    ) -> tuple[Sequence[str | NoAnswer], Cost]:
        """A better rubric for each, given the pair on which `verdicts` by it missed the preference."""

    def structure(self, criteria: Sequence[Sequence[Criterion]]) -> tuple[Sequence[str | NoAnswer], Cost]:
        """Each list of criteria under themes, without what is redundant."""

    def template(self, role: str) -> str:
        """Hash of the text that a role is asked with."""


@runtime_checkable
class PromptWriter(Writer, Protocol):
    """A writer of free text, who can also better a prompt. The embedded models, the oracle and the coin are none."""

    def refine_prompt(
        self,
        prompts: Sequence[Prompt],
        texts: Sequence[str],
        images: Sequence[Image],
        critiques: Sequence[str],
        max_characters: int,
    ) -> tuple[Sequence[str | NoAnswer], Cost]:
        """For each prompt a text that a better picture is to come from than the image, which was drawn from text i and then
        criticised, as the reply that came back."""


def settle(p_a_first: float, p_a_second: float, tie_margin: float, checks: tuple[CriterionCheck, ...], cost: Cost) -> Verdict:
    """The verdict from the probabilities that A is better when shown first and when shown second.

    Opposite opinions, each beyond `tie_margin` of one half, are INCONSISTENT: the order decided. Otherwise the average
    decides, and is a TIE within the margin.
    """
    by_order = (p_a_first, p_a_second)
    p_a = (p_a_first + p_a_second) / 2
    flipped = (p_a_first - 0.5) * (p_a_second - 0.5) < 0 and min(abs(p - 0.5) for p in by_order) > tie_margin
    if flipped:
        outcome = Outcome.INCONSISTENT
    elif abs(p_a - 0.5) <= tie_margin:
        outcome = Outcome.TIE
    else:
        outcome = Outcome.A if p_a > 0.5 else Outcome.B
    return Verdict(outcome, p_a, by_order, checks, cost)
