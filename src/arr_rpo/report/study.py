"""A study, and the runs that it is made of, as they are read from their folders (`read_study`, `read_run`).

Shares and their differences are fractions (0.61, not 61); a scorer's numbers are in its own unit. KL is in nats an image, as
`summary.json` has it.
A thing that a run lacks is None or empty here, and a sentence in `missing`; it is never a number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

LARGEST = 1e15  # no run draws as many pictures, or takes as many seconds; sums and differences of larger ones are infinite


@dataclass(frozen=True)
class Measured:
    """What a measure says of one picture, or the mean of several. value: the higher the better; None where it was not taken.
    figures: further numbers by name. by_prompt: of several, prompt id -> value. met: of one, which of the measure's own
    criteria it meets, of those that count for its prompt."""

    value: float | None
    figures: Mapping[str, float] = field(default_factory=dict)
    by_prompt: Mapping[str, float] = field(default_factory=dict)
    met: Mapping[str, bool] = field(default_factory=dict)


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


class Replicate(NamedTuple):
    """What a run is paired by with one of another arm. of: its value of the override that the study repeats its arms over
    (`Study.replicates`): "mia" of "annotator=mia"; "" in a study that repeats them over seeds alone."""

    of: str
    seed: int

    def __str__(self) -> str:
        return f"{self.of}, seed {self.seed}" if self.of else f"seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """One run folder.

    name: its path below the study's folder. finished: it wrote its summary. config: `config.yaml`. summary: `summary.json` as
    it is, empty if there is none. measures: what it says of each measure, before and after, its own first. progress: by update.
    curves: by tag. versions: `versions.json`: packages, and `commit`, `dirty`, `commands` where they were recorded.
    verdict_pictures: files that exist. missing: sentences. alarms: sentences, of when and why. of: see `Replicate`.
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
    of: str = ""

    @property
    def replicate(self) -> Replicate | None:
        """None of a run without a seed, which has no partner."""
        return None if self.seed is None else Replicate(self.of, self.seed)

    @property
    def which(self) -> str:
        """What tells it from others of its arm: "seed 1", "mia, seed 1", or ""."""
        return self.of if self.replicate is None else str(self.replicate)

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

    @property
    def commit(self) -> str:
        """The short hash that the run was made with, and whether files had been changed; "" where it was not recorded."""
        found = self.versions.get("commit")
        return f"{str(found)[:10]}{' + changes' * bool(self.versions.get('dirty'))}" if found else ""


@dataclass(frozen=True)
class Study:
    """Runs that answer one question.

    name, question: as the `study` block of the runs' configs says; the folder's name and "" without one.
    reference: the arm that the others are compared with, or None. arms: in the order in which they are to be shown.
    measures: that runs have a value of, the first run's own first.
    pairs: further (arm, reference) to be compared. claims: orders that were expected, best arm first.
    missing: of the study itself, and of its runs, each with the run's name.
    replicates: the override, beside the seed, that the arms are repeated over ("annotator"), each of whose values may have
    prompts of its own; "" where it is seeds alone.
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
    replicates: str = ""

    @property
    def unit(self) -> str:
        """What intervals are over."""
        return self.replicates or "seed"

    def of(self, arm: str) -> tuple[Run, ...]:
        """An arm's runs, by replicate."""
        return tuple(run for run in self.runs if run.arm == arm)


def number_at(data: Mapping[str, Any], *keys: str) -> float | None:
    """The finite number at a path of keys, or None."""
    found: Any = data
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    known = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if known else None
