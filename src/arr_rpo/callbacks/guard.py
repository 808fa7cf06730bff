"""Ends a run whose numbers are not finite in one update after the other, or whose groups say nothing."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from arr_rpo import ranks
from arr_rpo.algorithm.finite import not_finite
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.module import RPOModule
from arr_rpo.run.layout import SKIPPED, by_update
from arr_rpo.types import UserError


class Guard(pl.Callback):
    """Counts, and stops. A skipped update left the weights as they were, so the last checkpoint is a good one.

    Args:
        max_skipped: updates in a row whose numbers were not finite.
        max_kept: skipped updates whose latents, rewards and advantages are kept, for inspection.
        max_silent: updates in a row in which the valid rewards of each group were all alike, and no advantage was left.
    """

    def __init__(self, *, max_skipped: int, max_kept: int, max_silent: int) -> None:
        self.max_skipped, self.max_kept, self.max_silent = max_skipped, max_kept, max_silent
        self.skipped, self.skipped_in_a_row, self.silent_in_a_row = 0, 0, 0

    @staticmethod
    def skipped_by(trainer: Any) -> int:
        """Updates that a trainer's guard saw skipped; 0 without one."""
        return sum(callback.skipped for callback in trainer.callbacks if isinstance(callback, Guard))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, RPOModule)
        update, _ = batch
        if pl_module.bad is not None:
            self.skipped, self.skipped_in_a_row = self.skipped + 1, self.skipped_in_a_row + 1
            if self.skipped <= self.max_kept:
                name = f"{SKIPPED}/{by_update(update)}.safetensors"
                bad = any(not_finite({key: tensor}) for key, tensor in pl_module.inputs.items())
                inputs = next((i for i in ranks.gathered(pl_module.inputs if bad else None) if i), pl_module.inputs)
                RunRecords.of(trainer).folder.tensors(name, inputs, {"reason": str(pl_module.bad)})
            if self.skipped_in_a_row >= self.max_skipped:
                raise UserError(
                    f"{self.skipped_in_a_row} updates in a row were skipped, the last one (update {update}) since "
                    f"{pl_module.bad}. The weights are those before them. Look at the judge's grades, or lower "
                    "module.optimizer.lr: resume=<the run> goes on from the last checkpoint. policy.dtype=float32 takes "
                    "a new run."
                )
            return
        self.skipped_in_a_row = 0
        metrics = pl_module.metrics
        silent = metrics["reward/silent_groups"] == 1.0 and metrics["reward/advantage_abs"] == 0.0
        self.silent_in_a_row = self.silent_in_a_row + 1 if silent else 0
        if self.silent_in_a_row >= self.max_silent:
            raise UserError(
                f"in {self.silent_in_a_row} updates in a row (the last one is update {update}) no group had two candidates "
                "with different rewards, so nothing was learned from them: either the candidates are all alike (sampler.eta=0 "
                "with sampler.shared_noise=true), or the judge says the same of everything, or all prompts are solved, or too "
                f"few rewards are valid ({metrics.get('judge/valid', 1.0):.0%} of the last update's). "
                "callbacks.guard.max_silent raises the limit; resume=<the run> goes on from the last checkpoint."
            )

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "skipped_in_a_row": self.skipped_in_a_row, "silent_in_a_row": self.silent_in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped, self.skipped_in_a_row = state_dict["skipped"], state_dict["skipped_in_a_row"]
        self.silent_in_a_row = state_dict["silent_in_a_row"]
