"""Checkpoints by the clock, by number, by what is best, and when somebody asks for one."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from arr_rpo import ranks
from arr_rpo.callbacks.ema import averaged
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.module import RPOModule
from arr_rpo.run.layout import POLICY, TRAINING_STATE
from arr_rpo.run.slurm import requeued


class Checkpoints(Checkpoint):
    """The last checkpoint when `every_seconds` have gone by and after the last update; one that stays every
    `keep_every_n_updates`; the best by the run's own measure. Each has the training state and, where they are light, the
    weights as the stock pipeline loads them.

    On SIGTERM and SIGUSR1 one is written as soon as the optimizer's current step is done: of the state before the update that
    is under way, which is gone through again.

    Lightning's `ModelCheckpoint(train_time_interval=...)` never saves under manual optimization (2.6.6), and its step
    counts are optimizer steps, of which an update takes a varying number. As a `Checkpoint` this comes after all other
    callbacks.

    keep_every_n_updates: None keeps none but the last and the best.
    """

    def __init__(self, *, every_seconds: float, keep_every_n_updates: int | None) -> None:
        self.every_seconds, self.keep_every = every_seconds, keep_every_n_updates
        self._last, self._within = time.monotonic(), False

    @staticmethod
    def of(trainer: Any) -> Checkpoints | None:
        """The one in a trainer's callbacks, if any."""
        return next((c for c in trainer.callbacks if isinstance(c, Checkpoints)), None)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if isinstance(pl_module, RPOModule):
            pl_module.between_steps = lambda: self._asked(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        last = done >= trainer.num_training_batches or trainer.should_stop  # so that a run that ended can be gone on with, too
        kept = self.keep_every is not None and done % self.keep_every == 0
        asked = RunRecords.of(trainer).signals.take()
        due = ranks.first(time.monotonic() - self._last >= self.every_seconds)
        if last or kept or asked or due:
            self._save(trainer, done)
        if not last:
            self._end(asked)

    def measured(self, trainer: pl.Trainer, update: int, value: float, measure: str) -> None:
        """Told of what the weights after `update` updates are worth, before the next one; keeps them if nothing was better."""
        folder = RunRecords.of(trainer).folder
        best = folder.best_value()  # which knows of a last measurement, too, that is taken after the last state was kept
        if ranks.first(best is None or value >= best):
            self._save(trainer, update, within=update < trainer.num_training_batches)
            folder.mark_best(update, value, measure)
            folder.prune(self.keep_every)  # the one that was the best

    def _asked(self, trainer: pl.Trainer, module: RPOModule) -> None:
        if (asked := RunRecords.of(trainer).signals.take()) is None:
            return
        with module.as_before_the_update():
            self._save(trainer, RunRecords.of(trainer).updates, within=True)
        self._end(asked)

    @staticmethod
    def _end(asked: signal.Signals | None) -> None:
        """Ends the run where a signal asks for it, which in a job of Slurm's SIGUSR1 does as well: its time is nearly up."""
        if asked is signal.SIGTERM or (asked and requeued()):
            raise SystemExit(128 + asked)

    def _save(self, trainer: pl.Trainer, update: int, within: bool = False) -> None:
        """within: an update is under way, whose prompts were dealt."""
        for logger in trainer.loggers:
            if flush := getattr(getattr(logger, "experiment", None), "flush", None):
                flush()  # a curve never has less than the checkpoint that it goes on from
        self._within, folder = within, RunRecords.of(trainer).folder
        write = None if ranks.first(update in folder.checkpoints()) else lambda path: self._write(trainer, path)
        folder.save_checkpoint(update, write, self.keep_every)
        self._last = time.monotonic()

    @staticmethod
    def _write(trainer: pl.Trainer, folder: Path) -> None:
        trainer.save_checkpoint(folder / TRAINING_STATE, weights_only=False)  # Lightning's word for "with the optimizer"
        module = trainer.lightning_module
        if isinstance(module, RPOModule) and module.policy.adapter.light:
            with averaged(trainer, module):
                module.policy.adapter.save(folder / POLICY)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Forgets that the batch was the last one: else a finished run that is resumed with more updates would do nothing. And
        that the prompts of an update under way were dealt."""
        loop = checkpoint["loops"]["fit_loop"]
        loop["epoch_loop.batch_progress"]["is_last_batch"] = False
        if self._within:
            for loader in loop["state_dict"]["combined_loader"]:
                loader["taken"] -= 1
