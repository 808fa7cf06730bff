"""The policy measured in the middle of training: what it has learned by so many pictures, judge calls and nats of KL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.seed import isolate_rng

from arr_rpo.callbacks.checkpoint import Checkpoints
from arr_rpo.callbacks.ema import averaged
from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.evaluation.images import measurable, seen, spread
from arr_rpo.evaluation.path_kl import path_kl
from arr_rpo.module import RPOModule
from arr_rpo.policy.sampler import Sampler
from arr_rpo.run.layout import Rows
from arr_rpo.types import Prompt


class HeldoutProgress(pl.Callback):
    """Before every `every_n_updates`-th update and after the last one, a row of `progress.jsonl` and a point in the loggers.

    Before an update and not after it: a run that goes on from a checkpoint then measures what it goes on with. No random number
    of the training is drawn. Prompts that the oracle does not know are not measured.

    Args:
        prompts: of the held-out ones, at even distances in their file, on which accuracy is measured.
        kl_prompts: the same for the path KL, which takes longer; kl_sampler: of the paths, as in `Summary`.
    """

    def __init__(
        self,
        *,
        every_n_updates: int,
        prompts: int,
        kl_prompts: int,
        eval_seed: int,
        eval_batch_size: int,
        kl_sampler: Sampler,
    ) -> None:
        self.every_n_updates = every_n_updates
        self.prompts, self.kl_prompts, self.kl_sampler = prompts, kl_prompts, kl_sampler
        self.eval_seed, self.batch_size = eval_seed, eval_batch_size
        self._done, self._earlier, self._start = 0, 0.0, time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        update, _ = batch
        if update % self.every_n_updates == 0:
            self._measure(trainer, pl_module, update)
        self._done = update + 1  # true of every checkpoint from here on

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._measure(trainer, pl_module, self._done)

    def _measure(self, trainer: pl.Trainer, pl_module: pl.LightningModule, update: int) -> None:
        assert isinstance(pl_module, RPOModule)
        data, reward, begun = trainer.datamodule, RubricReward.of(trainer), time.monotonic()  # type: ignore[attr-defined]
        assert isinstance(data, PromptDataModule)
        if not measurable(data.heldout):
            return
        seconds = self._seconds()
        with isolate_rng(), averaged(trainer, pl_module), pl_module.clock.stage("evaluation"):
            figures = self._figures(pl_module, data.heldout)
        spent = {"images": reward.images if reward else 0, "judge_calls": reward.cost.calls if reward else 0}
        RunRecords.of(trainer).folder.add(Rows.PROGRESS, update, [{**spent, "seconds": round(seconds, 1), **figures}])
        shown = {f"heldout/{name}": figures[name] for name in ("strict", "criteria", "kl")}
        for logger in trainer.loggers:
            logger.log_metrics(shown, step=update)
        if checkpoints := Checkpoints.of(trainer):
            checkpoints.measured(trainer, update, figures["strict"], "heldout/strict")
        self._start += time.monotonic() - begun  # the clock stood still

    def _figures(self, module: RPOModule, heldout: Sequence[Prompt]) -> dict[str, Any]:
        found = seen(module.policy, spread(heldout, self.prompts), self.eval_seed, self.batch_size).accuracy
        assert found is not None
        return {
            "strict": found.strict,
            "criteria": found.criteria,
            "kl": path_kl(module.policy, spread(heldout, self.kl_prompts), self.eval_seed, self.kl_sampler),
            "parts": found.parts,
            "strict_by_prompt": {one.prompt_id: one.strict for one in found.each},
        }

    def _seconds(self) -> float:
        return self._earlier + time.monotonic() - self._start

    def state_dict(self) -> dict[str, Any]:
        return {"done": self._done, "seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._done, self._earlier = state_dict["done"], state_dict["seconds"]
