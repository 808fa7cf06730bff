"""The frozen judge's seat: a callback holds it and hands rewards to the module."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pytorch_lightning as pl
from PIL import Image

from arr_rpo import ranks
from arr_rpo.callbacks.judged_pairs import judged_pairs
from arr_rpo.callbacks.judging_ahead import JudgingAhead
from arr_rpo.callbacks.judging_counts import JudgingCounts
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.callbacks.verdict_rows import failure_rate, failures_by_reason, outcomes, rates, reasons, records
from arr_rpo.judge.base import Judge
from arr_rpo.module import RPOModule
from arr_rpo.reward.joining import together
from arr_rpo.reward.monotony import Monotony
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import Rows
from arr_rpo.types import Cost, Grade, Outcome, Prompt, Rewards, Rollout, Rubric, UserError, Verdict

CRITERION = "criterion/"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WrittenRubrics:
    """The rubrics of an update's prompts, what they cost, and prompts left without. One process writes them for all, so that
    none is written twice."""

    rubrics: list[Rubric | None]
    cost: Cost
    failures: int


@dataclass(frozen=True)
class JudgedUpdate:
    """What was judged last: all prompts of an update and their rewards, and the pictures that this process drew."""

    prompts: tuple[Prompt, ...]
    own: Rollout
    rewards: Rewards

    def shown(self, pairs: int) -> Rollout:
        """All candidates, with the pictures of the first `pairs` of `judged_pairs`; the others are blank. For every process to
        call at once."""
        size = self.own.group_size
        rows = {row for judged in islice(judged_pairs(self.rewards, size), pairs) for row in judged.rows}
        start = self.own.first * size
        pictures = dict(ranks.joined([(start + i, im) for i, im in enumerate(self.own.images) if start + i in rows]))
        blank = Image.new("RGB", (1, 1))
        images = tuple(pictures.get(row, blank) for row in range(len(self.prompts) * size))
        return replace(self.own, prompts=self.prompts, images=images, first=0)


class RubricReward(pl.Callback):
    """Prompts -> rubrics -> verdicts or grades -> rewards, with rates in the log and each one of them in `verdicts.jsonl`.

    Args:
        judge: who answers; never in the module, its optimizer or its checkpoints.
        rubric: where a prompt's rubric comes from; None asks for none.
        reward: how answers become numbers.
        max_curves: criteria that have a curve of their own: those that came first, of an update the most frequent.
        monotony: watches for a judge that says the same of everything.
        max_failure_rate: share of failed verdicts or grades, over the last `failure_window` rollouts, above which the run
            stops.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        reward: Any,
        rubric: Any | None,
        max_failure_rate: float,
        failure_window: int,
        max_curves: int,
        monotony: Monotony,
    ) -> None:
        self.judge, self.reward, self.rubric = judge, reward, rubric
        if reward.uses_rubric and rubric is None:
            raise UserError("this reward reads a rubric and rubric=none: choose rubric=per_prompt, or reward=pairwise")
        self.max_curves, self.curves, self.monotony = max_curves, list[str](), monotony
        self.max_failure_rate, self.failure_window = max_failure_rate, failure_window
        self.total = JudgingCounts()
        self.last: JudgedUpdate | None = None
        self._recent: list[float] = []
        self._update = 0  # that the next rollout belongs to
        self._judged: tuple[JudgingCounts, float] | None = None  # of the present update, and how much failed, until it is done
        self._before: dict[str, Any] | None = None  # what a checkpoint has of what is heard, while its update is under way
        self._ahead: JudgingAhead | None = None  # where the judge answers elsewhere, and so while pictures are drawn
        self._written = WrittenRubrics([], Cost(), 0)  # for it
        self._module: RPOModule | None = None
        self._folder: RunFolder | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, RPOModule)
        self.reward.check_group_size(pl_module.algorithm.group_size)
        self._module, self._folder = pl_module, RunRecords.of(trainer).folder
        pl_module.judge_rewards = self

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self._update, prompts = batch
        self.last, self._judged = None, None
        if self._ahead is not None:  # of an update that was given up
            self._ahead.drop(getattr(self.judge, "give_up", lambda: None))
        self._ahead = self._judging_ahead(prompts) if getattr(self.judge, "elsewhere", False) else None

    def _judging_ahead(self, prompts: tuple[Prompt, ...]) -> JudgingAhead:
        assert self._module is not None
        with self._module.clock.stage("rubrics"):
            self._written = ranks.by_the_first(lambda: self._rubrics(prompts))
        mine = ranks.share(len(prompts))
        ahead = JudgingAhead(
            functools.partial(self.reward, self.judge),
            prompts[mine],
            self._written.rubrics[mine],
            self._module.algorithm.group_size,
        )
        self._module.drawn = ahead.drawn
        return ahead

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        """Counts what was judged now that the update is done: a checkpoint of before it must not have it."""
        self._before = None
        if self._judged is not None:
            judged, failed = self._judged
            self.total += judged
            self._recent = [*self._recent, failed][-self.failure_window :]

    @staticmethod
    def of(trainer: Any) -> RubricReward | None:
        """The one in a trainer's callbacks, if any."""
        return next((c for c in trainer.callbacks if isinstance(c, RubricReward)), None)

    def __call__(self, rollout: Rollout, prompts: tuple[Prompt, ...]) -> Rewards:
        """Rewards of the candidates of all `prompts`, of which each process judges those that it drew (`rollout`)."""
        self._before = self._heard()
        written = self._written if self._ahead else ranks.by_the_first(lambda: self._rubrics(prompts))
        with ranks.together():
            if self._ahead:
                own: Rewards = self._ahead.rewards()
            else:
                own = self.reward(self.judge, rollout, written.rubrics[ranks.share(len(prompts))])
        rewards = together(ranks.gathered(own), rollout.group_size)
        judged = JudgingCounts(
            cost=rewards.cost,
            writing=written.cost,
            images=len(rewards.values_B),
            outcomes=outcomes(rewards),
            reasons=failures_by_reason(rewards),
            rubric_failures=written.failures,
        )
        self._judged = judged, (failed := failure_rate(rewards))
        self.last = JudgedUpdate(prompts, rollout.pictures_alone(), rewards)
        self._log(rewards, judged)
        assert self._folder is not None
        self._folder.add(Rows.VERDICTS, self._update, records(prompts, rollout.group_size, rewards))
        self._stop_if_monotonous(rewards)
        self._stop_if_failing(rewards, failed)
        return rewards

    def _rubrics(self, prompts: Sequence[Prompt]) -> WrittenRubrics:
        if self.rubric is None or not self.reward.uses_rubric:
            return WrittenRubrics([None] * len(prompts), Cost(), 0)
        cost = self.rubric.cost
        self.rubric.update = self._update
        try:
            rubrics = self.rubric.rubrics(prompts, self.judge)
        finally:
            self.rubric.update = None  # measures ask it too
        return WrittenRubrics(rubrics, self.rubric.cost - cost, rubrics.count(None))

    def _log(self, rewards: Rewards, judged: JudgingCounts) -> None:
        assert self._module is not None
        found = rates(rewards)
        for name in [name for name in found if name.startswith(CRITERION) and name != f"{CRITERION}mean"]:
            if name not in self.curves and len(self.curves) < self.max_curves:
                self.curves.append(name)
            if name not in self.curves:
                del found[name]  # it is in verdicts.jsonl: judges name criteria freely
        self._module.note({**found, "judge/images": judged.images, "judge/calls": judged.cost.calls})

    def _stop_if_monotonous(self, rewards: Rewards) -> None:
        """Where the answers say that nothing can be learned. Of ties and equal grades that is not yet sure: the pictures may be
        alike, and `Guard.max_silent` ends a run that goes on like this."""
        answers: list[Verdict | Grade] = []
        for _, part in rewards.judged():
            answers += [*part.verdicts, *part.grades]
        if (said := self.monotony.heard(answers)) is None:
            return
        flips = isinstance(answers[0], Verdict) and answers[0].outcome is Outcome.INCONSISTENT
        if self.monotony.failing or flips:
            raise UserError(
                f"nothing can be learned from this judge, {said}. `python evaluate.py task=judge` measures it on labelled "
                "pairs, and `arr-rpo probe` asks a server what it can do"
            )
        _log.warning("judge: %s", said)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Asks nothing more."""
        if self._ahead is not None:
            self._ahead.drop(getattr(self.judge, "give_up", lambda: None))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if said := self.monotony.so_far:
            _log.warning("judge: %s", said)

    def _stop_if_failing(self, rewards: Rewards, failed: float) -> None:
        recent = [*self._recent, failed][-self.failure_window :]
        rate = sum(recent) / len(recent)
        if len(recent) == self.failure_window and rate > self.max_failure_rate:
            assert self._folder is not None
            why = reasons(rewards) or ["no rubric, or no answer"]
            raise UserError(
                f"the judge failed on {rate:.0%} of the last {self.failure_window} rollouts "
                f"(limit {self.max_failure_rate:.0%}): {why[0]}. See {self._folder.path / Rows.VERDICTS}. "
                f"Nothing is lost: resume={self._folder.path} goes on from the last checkpoint."
            )

    def state_dict(self) -> dict[str, Any]:
        return {**self.total.state_dict(), "recent": self._recent, **(self._before or self._heard())}

    def _heard(self) -> dict[str, Any]:
        return {"curves": list(self.curves), "monotony": self.monotony.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.total = JudgingCounts.of_state(state_dict)
        self._recent, self.curves = list(state_dict["recent"]), list(state_dict["curves"])
        if "monotony" in state_dict:  # not in an older checkpoint
            self.monotony.load_state_dict(state_dict["monotony"])
