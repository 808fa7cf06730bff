"""What a report is made of: runs as they are read from their folders (`runs`), and what comes of comparing them (`compare`).

Shares and their differences are fractions (0.61, not 61); a scorer's numbers are in its own unit. KL is in nats an image, as
`summary.json` has it.
A thing that a run lacks is None or empty here, and a sentence in `missing`; it is never a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

LARGEST = 1e15  # no run draws as many pictures, or takes as many seconds; sums and differences of larger ones are infinite

# -- runs ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """What a measure says of one picture, or the mean of several. value: the higher the better; None where it was not taken.
    figures: further numbers by name. by_prompt: of several, prompt id -> value."""

    value: float | None
    figures: Mapping[str, float] = field(default_factory=dict)
    by_prompt: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class HeldoutPrompt:
    """One prompt that the policy is measured on, before and after training, from the same initial noise in every run.

    split: "heldout" or "unseen". before, after: by measure; empty where nothing was measured, or the run did not end.
    pictures: "base", "trained" and, of an edit, "source" -> PNG file that exists; of a few fixed prompts, empty for the others.
    """

    prompt_id: str
    split: str
    tag: str
    text: str
    before: Mapping[str, Measured]
    after: Mapping[str, Measured]
    pictures: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ProgressPoint:
    """The policy measured in the middle of training, on a fixed subset of the held-out prompts.

    update: updates done; 0 is the base. images, judge_calls: drawn and made so far. seconds: of training so far, without these
    measurements. kl: path KL from the reference. measures: by name, over the subset.
    """

    update: int
    images: int
    judge_calls: int | None
    seconds: float | None
    kl: float | None
    measures: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """One quantity that the trainer logged, T values, by update in rising order without repeats.

    name: the tag ("reward/mean", "judge/flip_rate", "criterion/position"). updates: (T,), counted as done, so that the first
    update's value stands at 1. images, judge_calls: (T,) what had been drawn and asked by then, or empty where that is unknown;
    calls are interpolated between what the run recorded.
    """

    name: str
    updates: tuple[int, ...]
    values: tuple[float, ...]
    images: tuple[float, ...] = ()
    judge_calls: tuple[float, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run folder.

    name: its path below the study's folder. finished: it wrote its summary. config: `config.yaml`. summary: `summary.json` as
    it is, empty if there is none. measures: what it says of each measure, before and after, its own first. progress: by update.
    alarms: sentences, of when and why. curves: by tag. versions: `versions.json`: packages, and `commit`,
    `dirty`, `commands` where they were recorded. missing: sentences.
    verdict_pictures: files that exist.
    """

    folder: Path
    name: str
    arm: str
    seed: int | None
    finished: bool
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    measures: Mapping[str, Mapping[str, Any]]
    heldout: tuple[HeldoutPrompt, ...]
    progress: tuple[ProgressPoint, ...]
    curves: Mapping[str, Curve]
    versions: Mapping[str, Any]
    verdict_pictures: tuple[Path, ...]
    missing: tuple[str, ...]
    alarms: tuple[str, ...] = ()

    def mean(self, measure: str, when: str, *figure: str) -> float | None:
        """A measure of all held-out prompts, "before" or "after" training; or one of its further figures."""
        found = number_at(self.measures, measure, *(("figures", *figure) if figure else ()), when)
        return None if found is None or abs(found) > LARGEST else found

    @property
    def kl(self) -> float | None:
        """Path KL of the trained policy from the reference."""
        return number_at(self.summary, "kl")

    @property
    def images(self) -> float | None:
        """Pictures drawn for training."""
        return number_at(self.summary, "images")

    @property
    def judge_calls(self) -> float | None:
        return number_at(self.summary, "judge", "calls")

    @property
    def seconds(self) -> float | None:
        return number_at(self.summary, "seconds")


@dataclass(frozen=True)
class Study:
    """Runs that answer one question.

    name, question: as the `study` block of the runs' configs says; the folder's name and "" without one.
    reference: the arm that the others are compared with, or None. arms: in the order in which they are to be shown.
    measures: that runs have a value of, the first run's own first.
    pairs: further (arm, reference) to be compared. claims: orders that were expected, best arm first.
    missing: of the study itself, and of its runs, each with the run's
    name.
    """

    folder: Path
    name: str
    question: str
    reference: str | None
    arms: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    claims: tuple[tuple[str, ...], ...]
    runs: tuple[Run, ...]
    missing: tuple[str, ...]
    measures: tuple[str, ...] = ()

    def of(self, arm: str) -> tuple[Run, ...]:
        """An arm's runs, by seed."""
        return tuple(run for run in self.runs if run.arm == arm)


# -- comparisons -----------------------------------------------------------------------------------------------------------

END: Final = "end"
EQUAL_IMAGES: Final = "equal images"
EQUAL_CALLS: Final = "equal judge calls"
MATCHED_KL: Final = "matched KL"
CONDITIONS: Final = (END, EQUAL_IMAGES, EQUAL_CALLS, MATCHED_KL)


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. seeds: how many. t: Student's, over seeds; None with one seed. bootstrap: over seeds and prompts, or
    over those of which there is more than one; None if there is one of each.

    note: what the reader must know ("one seed: the interval is over prompts only"), or "".
    """

    value: float
    seeds: int
    t: Interval | None
    bootstrap: Interval | None
    note: str = ""

    @property
    def low(self) -> float | None:
        """Of the wider interval: that which both methods agree on contains no value that either would not reject."""
        return min((i.low for i in (self.t, self.bootstrap) if i), default=None)

    @property
    def high(self) -> float | None:
        return max((i.high for i in (self.t, self.bootstrap) if i), default=None)


@dataclass(frozen=True)
class ArmResult:
    """An arm over its seeds, by one measure. seeds: of the finished runs. before, after, change: of all held-out prompts.
    figures_after: of the measure's further figures, over the runs that have them.
    An estimate is None where no finished run has the figure."""

    arm: str
    seeds: tuple[int, ...]
    before: Estimate | None
    after: Estimate | None
    change: Estimate | None
    kl: Estimate | None
    images: Estimate | None
    judge_calls: Estimate | None
    seconds: Estimate | None
    figures_after: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A held-out measure of `arm` minus that of `reference`, paired by seed and by prompt.

    condition: one of `CONDITIONS`. at: where the runs were compared: number of images, of judge calls, or KL; None at the end.
    difference: None where nothing can be compared; `verdict` then says why. seeds: the shared ones. prompts: how many each seed
    was paired on; 0 where only the runs' means are known.
    p: two-sided, None with one seed. p_holm: corrected over all comparisons of the same condition.
    result: "shown" (the arm is better), "reversed" (it is worse), "not shown", or "no data".
    verdict: the sentence to print. limits: what set `at`, and which runs never reach it or were left out, as sentences.
    """

    arm: str
    reference: str
    condition: str
    at: float | None
    difference: Estimate | None
    seeds: tuple[int, ...]
    prompts: int
    p: float | None
    p_holm: float | None
    result: str
    verdict: str
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class OrderClaim:
    """`arms`, best first, as one claim: it is shown if each arm is shown to be better than the next.

    result: "shown", "not shown", "reversed" (a link is shown to be the other way round) or "no data". p: the largest of the
    links' corrected p-values.
    """

    arms: tuple[str, ...]
    condition: str
    links: tuple[Comparison, ...]
    p: float | None
    result: str
    verdict: str


@dataclass(frozen=True)
class Analysis:
    """All that is said of a study by one measure. methods: how, with sources, as sentences to print below the tables."""

    measure: str
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    claims: tuple[OrderClaim, ...]
    confidence: float
    methods: tuple[str, ...]

    def under(self, condition: str) -> tuple[Comparison, ...]:
        """The comparisons of one condition."""
        return tuple(c for c in self.comparisons if c.condition == condition)


def number_at(data: Mapping[str, Any], *keys: str) -> float | None:
    """The finite number at a path of keys, or None."""
    found: Any = data
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    known = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if known else None
