"""The frozen judge's seat: a callback holds it and hands rewards to the module."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from arr_rpo.callbacks.verdict_log import failure_rate, failures, rates, reasons, records
from arr_rpo.judge.base import Judge
from arr_rpo.module import RPOModule
from arr_rpo.types import Cost, Outcome, Rewards, Rollout, Rubric, UserError

CRITERION = "criterion/"


class RubricReward(pl.Callback):
    """Prompts -> rubrics -> verdicts or grades -> rewards, with rates in the log and each one of them in `verdicts.jsonl`.

    Args:
        judge: who answers; never in the module, its optimizer or its checkpoints.
        rubric: where a prompt's rubric comes from; None asks for none.
        reward: how answers become numbers.
        max_curves: criteria that have a curve of their own: those that came first, of an update the most frequent.
        max_failure_rate: share of failed verdicts or grades, over the last `failure_window` rollouts, at which the run stops.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        reward: Any,
        rubric: Any | None,
        run_dir: str,
        max_failure_rate: float,
        failure_window: int,
        max_curves: int,
    ) -> None:
        self.judge, self.reward, self.rubric = judge, reward, rubric
        if reward.uses_rubric and rubric is None:
            raise UserError("this reward reads a rubric and rubric=none: choose rubric=per_prompt, or reward=pairwise")
        self.path = Path(run_dir) / "verdicts.jsonl"
        self.max_curves, self.curves = max_curves, list[str]()
        self.max_failure_rate, self.failure_window = max_failure_rate, failure_window
        self.cost, self.writing = Cost(), Cost()  # of judging; of writing rubrics, which are free where a store has them
        self.outcomes, self.images = Counter[str](), 0
        self.last: tuple[Rollout, Rewards] | None = None
        self._recent: list[float] = []
        self.update = 0  # that the next rollout belongs to
        self._module: RPOModule | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, RPOModule)
        self.reward.check_group_size(pl_module.algorithm.group_size)
        self._module = pl_module
        pl_module.judge_rewards = self

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self.update, _ = batch

    @staticmethod
    def of(trainer: Any) -> RubricReward | None:
        """The one in a trainer's callbacks, if any."""
        return next((c for c in trainer.callbacks if isinstance(c, RubricReward)), None)

    def __call__(self, rollout: Rollout) -> Rewards:
        rubrics: list[Rubric | None] = [None] * len(rollout.prompts)
        before = self.rubric.cost if self.rubric else Cost()
        if self.rubric is not None and self.reward.uses_rubric:
            rubrics = self.rubric.rubrics(rollout.prompts, self.judge)
        rewards: Rewards = self.reward(self.judge, rollout, rubrics)
        written = self.rubric.cost if self.rubric else Cost()
        self.writing += Cost(written.calls - before.calls, written.tokens - before.tokens)
        self.cost += rewards.cost
        self.images += len(rollout.images)
        self.outcomes.update(str(v.outcome) for v in rewards.verdicts)
        if not rewards.verdicts:
            self.outcomes[str(Outcome.FAILED)] += failures(rewards)
        self.last = (rollout, rewards)
        self._log(rewards)
        self._write(rollout, rewards)
        self._stop_if_failing(rewards)
        return rewards

    def _log(self, rewards: Rewards) -> None:
        assert self._module is not None
        shown = {"reward/mean", "judge/win_rate", "criterion/mean"}
        found = rates(rewards)
        for name in [name for name in found if name.startswith(CRITERION) and name != f"{CRITERION}mean"]:
            if name not in self.curves and len(self.curves) < self.max_curves:
                self.curves.append(name)
            if name not in self.curves:
                del found[name]  # it is in verdicts.jsonl: judges name criteria freely
        for name, value in found.items():
            self._module.log(name, value, prog_bar=name in shown)

    def _write(self, rollout: Rollout, rewards: Rewards) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"update": self.update, **record}) + "\n" for record in records(rollout, rewards))

    def _stop_if_failing(self, rewards: Rewards) -> None:
        self._recent = [*self._recent, failure_rate(rewards)][-self.failure_window :]
        rate = sum(self._recent) / len(self._recent)
        if len(self._recent) == self.failure_window and rate > self.max_failure_rate:
            why = reasons(rewards) or ["no rubric, or no answer"]
            raise UserError(
                f"the judge failed on {rate:.0%} of the last {self.failure_window} rollouts "
                f"(limit {self.max_failure_rate:.0%}): {why[0]}. See {self.path}. "
                f"Nothing is lost: resume={self.path.parent} goes on from the last checkpoint."
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            "calls": self.cost.calls,
            "tokens": self.cost.tokens,
            "writing_calls": self.writing.calls,
            "writing_tokens": self.writing.tokens,
            "outcomes": dict(self.outcomes),
            "images": self.images,
            "recent": self._recent,
            "curves": self.curves,
            "rubric_failures": self.rubric.failures if self.rubric else 0,
            "logged_bytes": self.path.stat().st_size if self.path.is_file() else 0,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.cost = Cost(state_dict["calls"], state_dict["tokens"])
        self.writing = Cost(state_dict["writing_calls"], state_dict["writing_tokens"])
        if self.path.is_file():  # what was judged after the checkpoint will be judged again
            os.truncate(self.path, min(state_dict["logged_bytes"], self.path.stat().st_size))
        self.outcomes = Counter(state_dict["outcomes"])
        self.images, self._recent = state_dict["images"], list(state_dict["recent"])
        self.curves = list(state_dict["curves"])
        if self.rubric is not None:
            self.rubric.failures = state_dict["rubric_failures"]
