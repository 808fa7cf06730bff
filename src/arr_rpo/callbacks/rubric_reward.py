"""The frozen judge's seat: a callback holds it and hands rewards to the module."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl

from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.callbacks.verdict_log import failure_rate, failures, failures_by_reason, rates, reasons, records
from arr_rpo.judge.base import Judge
from arr_rpo.module import RPOModule
from arr_rpo.reward.monotony import Monotony, is_failure
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import Rows
from arr_rpo.types import Cost, Outcome, Rewards, Rollout, Rubric, UserError

CRITERION = "criterion/"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """What one update took."""

    cost: Cost
    writing: Cost
    images: int
    outcomes: Counter[str]
    rubric_failures: int
    failure_rate: float
    reasons: Counter[str]


class RubricReward(pl.Callback):
    """Prompts -> rubrics -> verdicts or grades -> rewards, with rates in the log and each one of them in `verdicts.jsonl`.

    Args:
        judge: who answers; never in the module, its optimizer or its checkpoints.
        rubric: where a prompt's rubric comes from; None asks for none.
        reward: how answers become numbers.
        max_curves: criteria that have a curve of their own: those that came first, of an update the most frequent.
        monotony: watches for a judge that says the same of everything.
        max_failure_rate: share of failed verdicts or grades, over the last `failure_window` rollouts, at which the run stops.
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
        self.cost, self.writing = Cost(), Cost()  # of judging; of writing rubrics, which are free where a store has them
        self.outcomes, self.images, self.rubric_failures = Counter[str](), 0, 0
        self.reasons = Counter[str]()  # of what failed
        self.last: tuple[Rollout, Rewards] | None = None
        self._recent: list[float] = []
        self._update = 0  # that the next rollout belongs to
        self._judged: Counts | None = None  # of the present update, until it is done
        self._module: RPOModule | None = None
        self._folder: RunFolder | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, RPOModule)
        self.reward.check_group_size(pl_module.algorithm.group_size)
        self._module, self._folder = pl_module, RunRecords.of(trainer).folder
        pl_module.judge_rewards = self

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self._update, _ = batch
        self.last, self._judged = None, None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        """Counts what was judged now that the update is done: a checkpoint of before it must not have it."""
        if (judged := self._judged) is not None:
            self.cost += judged.cost
            self.writing += judged.writing
            self.images += judged.images
            self.outcomes.update(judged.outcomes)
            self.reasons.update(judged.reasons)
            self.rubric_failures += judged.rubric_failures
            self._recent = [*self._recent, judged.failure_rate][-self.failure_window :]

    @staticmethod
    def of(trainer: Any) -> RubricReward | None:
        """The one in a trainer's callbacks, if any."""
        return next((c for c in trainer.callbacks if isinstance(c, RubricReward)), None)

    def __call__(self, rollout: Rollout) -> Rewards:
        rubrics: list[Rubric | None] = [None] * len(rollout.prompts)
        before = (self.rubric.cost, self.rubric.failures) if self.rubric else (Cost(), 0)
        if self.rubric is not None and self.reward.uses_rubric:
            rubrics = self.rubric.rubrics(rollout.prompts, self.judge)
        rewards: Rewards = self.reward(self.judge, rollout, rubrics)
        after = (self.rubric.cost, self.rubric.failures) if self.rubric else (Cost(), 0)
        outcomes = Counter(str(v.outcome) for v in rewards.verdicts)
        if not rewards.verdicts:
            outcomes[str(Outcome.FAILED)] += failures(rewards)
        self._judged = Counts(
            cost=rewards.cost,
            writing=Cost(after[0].calls - before[0].calls, after[0].tokens - before[0].tokens),
            images=len(rollout.images),
            outcomes=outcomes,
            rubric_failures=after[1] - before[1],
            failure_rate=failure_rate(rewards),
            reasons=failures_by_reason(rewards),
        )
        self.last = (rollout.pictures_alone(), rewards)
        self._log(rewards, self._judged)
        assert self._folder is not None
        self._folder.add(Rows.VERDICTS, self._update, records(rollout, rewards))
        self._stop_if_monotonous(rewards)
        self._stop_if_failing(rewards, self._judged)
        return rewards

    def _log(self, rewards: Rewards, judged: Counts) -> None:
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
        if (said := self.monotony.heard([*rewards.verdicts, *rewards.grades])) is None:
            return
        first = rewards.verdicts[0].outcome if rewards.verdicts else None
        if is_failure(said) or first is Outcome.INCONSISTENT:
            raise UserError(
                f"nothing can be learned from this judge, {said}. `python evaluate.py task=judge` measures it on labelled "
                "pairs, and `python probe.py` asks a server what it can do"
            )
        _log.warning("judge: %s", said)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if said := self.monotony.so_far:
            _log.warning("judge: %s", said)

    def _stop_if_failing(self, rewards: Rewards, judged: Counts) -> None:
        recent = [*self._recent, judged.failure_rate][-self.failure_window :]
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
        return {
            "calls": self.cost.calls,
            "tokens": self.cost.tokens,
            "writing_calls": self.writing.calls,
            "writing_tokens": self.writing.tokens,
            "outcomes": dict(self.outcomes),
            "reasons": dict(self.reasons),
            "images": self.images,
            "recent": self._recent,
            "curves": self.curves,
            "rubric_failures": self.rubric_failures,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.cost = Cost(state_dict["calls"], state_dict["tokens"])
        self.writing = Cost(state_dict["writing_calls"], state_dict["writing_tokens"])
        self.outcomes = Counter(state_dict["outcomes"])
        self.reasons = Counter(state_dict.get("reasons", {}))  # not in an older checkpoint
        self.images, self._recent = state_dict["images"], list(state_dict["recent"])
        self.curves = list(state_dict["curves"])
        self.rubric_failures = state_dict["rubric_failures"]
