"""A run that is stopped at a known place."""

from __future__ import annotations

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


class BadGradient(pl.Callback):
    """Makes one gradient NaN in the `step`-th optimizer step of some updates."""

    def __init__(self, *, updates: list[int], step: int) -> None:
        self.updates, self.step, self.seen, self.now = updates, step, 0, False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        next(iter(pl_module.policy.adapter.parameters().values())).register_hook(self._gradient)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.now, self.seen = batch_idx in self.updates, 0

    def _gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return gradient * float("nan") if self.now and self.seen == self.step else gradient
