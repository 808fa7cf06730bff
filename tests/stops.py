"""A run that is stopped at a known place."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import pytorch_lightning as pl
import torch


class StopBefore(pl.Callback):
    """As Ctrl-C before the update of this number: `+callbacks.stop={_target_: tests.stops.StopBefore, update: 2}`."""

    def __init__(self, *, update: int) -> None:
        self.update = update

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.update:
            raise KeyboardInterrupt


def stop_before(update: int) -> str:
    return f"+callbacks.stop={{_target_: tests.stops.StopBefore, update: {update}}}"


class SignalWithin(pl.Callback):
    """Sends this process a signal at a place where an update may be interrupted: the `call`-th of update `update`."""

    def __init__(self, *, update: int, call: int, number: int) -> None:
        self.update, self.call, self.number, self.seen = update, call, number, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.update and self.seen == 0:
            between = pl_module.between_steps

            def interrupted() -> None:
                self.seen += 1
                if self.seen == self.call:
                    os.kill(os.getpid(), self.number)
                between()

            pl_module.between_steps = interrupted


class Bad(pl.Callback):
    """Makes a number NaN in some updates: in the `latents` of the rollout, a `grade`, the `loss` or one `gradient` of the
    `step`-th optimizer step."""

    def __init__(self, *, kind: str, updates: list[int], step: int = 1) -> None:
        self.kind, self.updates, self.step, self.seen, self.now = kind, updates, step, 0, False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        module = pl_module
        if self.kind == "gradient":
            next(iter(module.policy.adapter.parameters().values())).register_hook(self._bad)
        elif self.kind == "latents":
            rollout = module.policy.rollout
            module.policy.rollout = lambda *a, **k: self._in_one(rollout(*a, **k), "clean_BD")
        elif self.kind == "grade":
            judge = module.judge_rewards
            module.judge_rewards = lambda rollout, prompts: self._in_one(judge(rollout, prompts), "values_B")
        elif self.kind == "loss":
            loss = module.algorithm.objective.loss

            def bad_loss(*arguments: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
                value, log = loss(*arguments)
                return self._bad(value), log

            module.algorithm.objective.loss = bad_loss

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.now, self.seen = batch_idx in self.updates, 0

    def _bad(self, tensor: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return tensor * float("nan") if self.now and self.seen == self.step else tensor

    def _in_one(self, record: Any, name: str) -> Any:
        """With the first number NaN; the random generators of what made the record are not touched."""
        if not self.now:
            return record
        changed = getattr(record, name).clone()
        changed.view(-1)[0] = float("nan")
        return dataclasses.replace(record, **{name: changed})
