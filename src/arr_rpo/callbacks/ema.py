"""An exponential moving average of the trained weights, measured and saved in place of the last ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from arr_rpo.module import RPOModule
from arr_rpo.policy.adapter import swapped
from arr_rpo.policy.sharding import like, saved


class EMA(pl.Callback):
    """average <- decay * average + (1 - decay) * weights, after each update; it starts from the first weights.

    Training goes on with the weights themselves; `Summary` measures and saves the average.
    """

    def __init__(self, *, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.average:
            self.average = {name: p.detach().clone() for name, p in _parameters(pl_module).items()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        for name, p in _parameters(pl_module).items():
            self.average[name] = torch.lerp(p.detach(), like(self.average[name], p), self.decay)

    def state_dict(self) -> dict[str, Any]:
        return {"average": {name: saved(average) for name, average in self.average.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average = state_dict["average"]


@contextlib.contextmanager
def averaged(trainer: Any, module: RPOModule) -> Iterator[None]:
    """Inside, the module has the averaged weights, if its trainer keeps any."""
    ema = next((callback for callback in trainer.callbacks if isinstance(callback, EMA)), None)
    if ema is None or not ema.average:
        yield
    else:
        with swapped(_parameters(module), ema.average):
            yield


def _parameters(module: pl.LightningModule) -> dict[str, torch.nn.Parameter]:
    assert isinstance(module, RPOModule)
    return module.policy.adapter.parameters()
