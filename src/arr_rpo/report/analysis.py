"""What comes of comparing the runs of a study (`compare`): means of arms, differences between arms, and orders of arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from arr_rpo.report.study import Replicate

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
    """A mean over seeds, or over what else a study repeats its arms. units: how many; unit: of what (`Study.unit`). t:
    Student's, over them; None with one. bootstrap: over them and prompts, or over those of which there is more than one; None
    if there is one of each.

    note: what the reader must know ("one seed: the interval is over prompts only"), or "".
    """

    value: float
    units: int
    t: Interval | None
    bootstrap: Interval | None
    note: str = ""
    unit: str = "seed"

    @property
    def counted(self) -> str:
        """ "5 seeds" """
        return f"{self.units} {self.unit}{'s' * (self.units != 1)}"

    @property
    def low(self) -> float | None:
        """Of the wider interval: that which both methods agree on contains no value that either would not reject."""
        return min((i.low for i in (self.t, self.bootstrap) if i), default=None)

    @property
    def high(self) -> float | None:
        return max((i.high for i in (self.t, self.bootstrap) if i), default=None)


@dataclass(frozen=True)
class ArmResult:
    """An arm over its replicates, by one measure. replicates: of the finished runs. before, after, change: of all held-out
    prompts. figures_after: of the measure's further figures, over the runs that have them.
    An estimate is None where no finished run has the figure."""

    arm: str
    replicates: tuple[Replicate, ...]
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
    """A held-out measure of `arm` minus that of `reference`, paired by replicate and by prompt.

    condition: one of `CONDITIONS`. at: where the runs were compared: number of images, of judge calls, or KL; None at the end,
    or where each unit has a place of its own.
    difference: None where nothing can be compared; `verdict` then says why. replicates: the shared ones. prompts: how many each
    seed was paired on, or all of them together where units have prompts of their own; 0 where only the runs' means are known.
    p: two-sided, None with one unit. p_holm: corrected over all comparisons of the same condition.
    result: "shown" (the arm is better), "reversed" (it is worse), "not shown", or "no data".
    verdict: the sentence to print. limits: what set `at`, and which runs never reach it or were left out, as sentences.
    """

    arm: str
    reference: str
    condition: str
    at: float | None
    difference: Estimate | None
    replicates: tuple[Replicate, ...]
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
