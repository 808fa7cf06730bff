"""The run's folder among the callbacks: whoever has something to keep hands it over here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from arr_rpo.module import RPOModule
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import Rows
from arr_rpo.run.signals import Signals

SHOWN = ("reward/mean", "judge/decided", "criterion/mean")  # beside the progress bar


class RunRecords(pl.Callback):
    """First of the callbacks: begins the folder once everything is built and a checkpoint is read, and writes a row an update.

    A row and the loggers get what belongs to that update and nothing else, under its number.

    Args:
        config, versions: of this start, for `config.yaml` and `versions.json`.
        signals: that the run was sent.
    """

    def __init__(self, folder: RunFolder, config: str, versions: Mapping[str, Any], signals: Signals) -> None:
        self.folder, self.config, self.versions, self.signals = folder, config, versions, signals
        self.begun = False
        self.updates, self.optimizer_steps = 0, 0
        self.seconds: dict[str, float] = {}

    @staticmethod
    def of(trainer: Any) -> RunRecords:
        """The one in a trainer's callbacks."""
        return next(c for c in trainer.callbacks if isinstance(c, RunRecords))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.folder.begin(self.config, self.versions, self.updates)
        self.begun = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        self.updates = batch_idx + 1
        if not isinstance(pl_module, RPOModule):
            return  # a recipe logs for itself
        metrics, seconds = dict(pl_module.metrics), pl_module.clock.take()
        self.optimizer_steps += int(metrics["policy/optimizer_steps"])
        for stage, spent in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
            metrics[f"time/{stage}"] = spent
        if seconds["rollout"]:
            metrics["time/images_per_second"] = metrics["judge/images"] / seconds["rollout"]
        held = pl_module.policy.encodings
        for place, kept in (("device", held.device_bytes), ("host", held.host_bytes), ("disk", held.disk_bytes)):
            metrics[f"memory/encodings_{place}_mib"] = kept / 2**20
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.folder.add(Rows.METRICS, batch_idx, [{name: finite.get(name) for name in metrics}])
        for logger in trainer.loggers:
            logger.log_metrics(finite, step=batch_idx)
        for name in set(SHOWN) & set(finite):
            pl_module.log(name, finite[name], prog_bar=True, logger=False)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "optimizer_steps": self.optimizer_steps, "seconds": dict(self.seconds)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates, self.optimizer_steps = state_dict["updates"], state_dict["optimizer_steps"]
        self.seconds = dict(state_dict["seconds"])
