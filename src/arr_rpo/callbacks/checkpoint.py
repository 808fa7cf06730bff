"""The last whole checkpoint, written by the clock."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl


class LastCheckpoint(pl.Callback):
    """Writes `last.ckpt` at the end of a batch when `every_seconds` have gone by, and after the last batch.

    Lightning's `ModelCheckpoint(train_time_interval=...)` never saves under manual optimization (2.6.6), and its step
    counts are optimizer steps, of which an update takes a varying number.
    """

    def __init__(self, *, dirpath: str, every_seconds: float) -> None:
        self.path, self.every_seconds = Path(dirpath) / "last.ckpt", every_seconds
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        last = batch_idx + 1 >= trainer.num_training_batches  # so that a finished run can be gone on with, too
        if last or time.monotonic() - self._last >= self.every_seconds:
            trainer.save_checkpoint(self.path, weights_only=False)  # Lightning's word for "with the optimizer"
            self._last = time.monotonic()

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Forgets that the batch was the last one: else a finished run that is resumed with more updates would do nothing."""
        checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"] = False
