"""Recipe of a reward model: Bradley-Terry on labelled pairs, stopped by what is held out of them.

`python train.py experiment=reward_model` runs it; the folder that it writes is a scorer (`reward=reward_model`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from PIL.Image import Image
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import Dataset

from arr_rpo.data.datamodule import ResumableLoader
from arr_rpo.data.preferences.base import Pairs
from arr_rpo.judge.asking import digest
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.noise import Purpose, draws
from arr_rpo.reward_model.features import Features, Lora
from arr_rpo.reward_model.model import Head, RewardModel
from arr_rpo.reward_model.pairs import Target, apart, taken
from arr_rpo.types import Preference, Prompt, UserError

log = logging.getLogger(__name__)


class Batches(Dataset[list[int]]):
    """Item i: the rows of step i, decided by (seed, i) alone; in shuffled passes, without repeats in a pass."""

    def __init__(self, rows: Sequence[int], steps: int, size: int, seed: int) -> None:
        self.rows, self.steps, self.size, self.seed = list(rows), steps, min(size, len(rows)), seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> list[int]:
        return [self._row(place) for place in range(step * self.size, (step + 1) * self.size)]

    def _row(self, place: int) -> int:
        turn, at = divmod(place, len(self.rows))
        return self.rows[int(draws(Purpose.ORDER, self.seed, "reward model", turn).permutation(len(self.rows))[at])]


class RewardModelRecipe(pl.LightningModule):
    """Trains a head, and with an adapter a LoRA beside it, to say which picture of a pair was preferred: P(A) = sigmoid of the
    difference of scores (Bradley-Terry; arXiv 2304.05977 and 2305.01569 do so for pictures). A tie is half of either.

    What is kept are the weights at the least held-out loss.

    Args:
        judge: whose vision-language model is read (`judge@module.judge=...`); it is asked nothing.
        pairs: labelled pairs (`preferences@module.pairs=...`). most_pairs: at most so many; None takes all.
        heldout_share: of the prompts, whose pairs are held out.
        adapter: None leaves the model as it is: each picture is then read once.
        hidden: units of the head's layer; 0 makes it linear. lr, weight_decay: of the head.
        steps: at most. measure_every: steps between measurements on held-out pairs. patience: of these without a better one,
            after which the run ends.
        batch_size: pairs in a step. pictures_at_once: that the model reads in one pass.
    """

    def __init__(
        self,
        *,
        judge: VLMJudge,
        pairs: Pairs,
        most_pairs: int | None,
        heldout_share: float,
        adapter: Lora | None,
        hidden: int,
        steps: int,
        measure_every: int,
        patience: int,
        batch_size: int,
        pictures_at_once: int,
        lr: float,
        weight_decay: float,
        seed: int,
        output_dir: str,
    ) -> None:
        super().__init__()
        if not 0 < heldout_share < 1:
            raise UserError(
                f"module.heldout_share={heldout_share} must be a share above 0 and below 1: it is what stops the run"
            )
        self.automatic_optimization, self.strict_loading = False, False
        self.pairs, self.output_dir = pairs, Path(output_dir)
        self.steps, self.batch_size, self.at_once, self.seed = steps, batch_size, pictures_at_once, seed
        self.measure_every, self.patience, self.missed = measure_every, patience, 0  # measurements since the best
        self.lr, self.weight_decay, self.most_pairs, self.heldout_share = lr, weight_decay, most_pairs, heldout_share
        self.features, self.adapter = Features(judge), adapter
        if adapter is not None:
            self.features.adapt(adapter)
        self.head = Head(self.features.size, hidden)
        self.lora = nn.ParameterList(self.features.parameters())  # so that checkpoints have them, and not what is frozen
        self.labelled: list[Target] = []
        self.known: dict[tuple[str, str], Tensor] = {}  # features of frozen models, by prompt and picture
        self._keys: list[tuple[tuple[str, str], tuple[str, str]]] = []  # of A and B of each pair
        self._best: dict[str, Any] = {}

    @property
    def model(self) -> RewardModel:
        return RewardModel(self.features, self.head)

    # -- data ---------------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Opens the pairs once. The features of a frozen model are those of all steps; a LoRA's are their standard to begin.

        Raises:
            UserError: there is too little to learn from, or nothing would be measured.
        """
        if self.measure_every > self.steps:
            raise UserError(
                f"module.steps={self.steps} end before anything is measured: module.measure_every={self.measure_every}"
            )
        with Progress(disable=self.trainer.progress_bar_callback is None) as bar:
            total = len(self.pairs) if self.most_pairs is None else min(self.most_pairs, len(self.pairs))
            task = bar.add_task("reading pairs", total=total)
            waiting: list[Preference] = []
            for labelled, pair in taken(self.pairs, self.most_pairs, self.seed):
                self.labelled.append(labelled)
                self._keys.append((key_of(pair.prompt, pair.a), key_of(pair.prompt, pair.b)))
                waiting.append(pair)
                if 2 * len(waiting) >= self.at_once:
                    self.read(waiting)
                    bar.advance(task, len(waiting))
                    waiting = []
            self.read(waiting)
        self.train_rows, self.heldout_rows = apart(self.labelled, self.heldout_share)
        known = [self.known[key] for row in self.train_rows for key in self._keys[row] if key in self.known]
        if not known:
            raise UserError("the judge's model could describe none of the pictures: try judge.describe=false for it")
        self.head.standardise(torch.stack(known))

    @torch.no_grad()
    def read(self, pairs: Sequence[Preference]) -> None:
        """Takes the features of their pictures, of those that are not known yet."""
        new = {
            key: (pair.prompt, image)
            for pair in pairs
            for image in (pair.a, pair.b)
            if (key := key_of(pair.prompt, image)) not in self.known
        }
        asked = list(new.items())
        for start in range(0, len(asked), self.at_once):
            part = asked[start : start + self.at_once]
            rows, features = self.features.of([prompt for _, (prompt, _) in part], [image for _, (_, image) in part])
            self.known.update({part[row][0]: vector for row, vector in zip(rows, features.cpu(), strict=True)})

    def train_dataloader(self) -> ResumableLoader:
        return ResumableLoader(Batches(self.train_rows, self.steps, self.batch_size, self.seed))

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Rows are numbers of ours."""
        return batch

    # -- steps --------------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [{"params": list(self.head.parameters()), "lr": self.lr}]
        if self.adapter is not None:
            groups.append({"params": list(self.lora), "lr": self.adapter.lr, "weight_decay": 0.0})
        return torch.optim.AdamW(groups, weight_decay=self.weight_decay)

    def training_step(self, rows: list[int], batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        loss, _ = self._judged(rows)
        if loss is None:
            return
        optimizer.zero_grad()
        self.manual_backward(loss.mean())
        torch.nn.utils.clip_grad_norm_([*self.head.parameters(), *self.lora], 1.0)
        optimizer.step()
        self.log("train/loss", loss.mean().detach(), prog_bar=True)
        if self.global_step % self.measure_every == 0:
            self._measure()

    @torch.no_grad()
    def _measure(self) -> None:
        """Keeps the weights if nothing was better on held-out pairs, and ends the run if nothing has been for long. Within the
        step, so that a checkpoint after it has what was measured."""
        size = self.batch_size
        parts = [self._judged(self.heldout_rows[i : i + size]) for i in range(0, len(self.heldout_rows), size)]
        losses = [loss for loss, _ in parts if loss is not None]
        if not losses:
            return
        loss, right = float(torch.cat(losses).mean()), torch.cat([right for _, right in parts if right is not None])
        measured = {"loss": loss, **({"accuracy": float(right.mean())} if len(right) else {})}
        self.log_dict({f"heldout/{name}": value for name, value in measured.items()}, prog_bar=True)
        if loss < self._best.get("loss", float("inf")):
            weights = {name: value.detach().cpu().clone() for name, value in self.state_dict().items()}
            self._best, self.missed = {**measured, "step": self.global_step, "weights": weights}, 0
        else:
            self.missed += 1
            self.trainer.should_stop = self.missed >= self.patience

    def _judged(self, rows: Sequence[int]) -> tuple[Tensor | None, Tensor | None]:
        """(n,) the loss of each pair that could be read, and of those with a preferred picture whether it scores higher."""
        scores, there = self._scores(rows)
        if not there:
            return None, None
        gaps = scores[:, 0] - scores[:, 1]
        targets = torch.tensor([self.labelled[row].target for row in there], device=gaps.device)
        losses = binary_cross_entropy_with_logits(gaps, targets, reduction="none")
        decided = targets != 0.5
        right = ((gaps > 0) == (targets > 0.5)).float()[decided]
        return losses, right

    def _scores(self, rows: Sequence[int]) -> tuple[Tensor, list[int]]:
        """(n, 2) of A and B, and the rows of which both could be read."""
        there = [row for row in rows if all(key in self.known for key in self._keys[row])]
        if not there:
            return torch.empty(0, 2), []
        if self.adapter is None:
            features = torch.stack([self.known[key] for row in there for key in self._keys[row]]).to(self.device)
            return self.head(features).view(-1, 2), there
        opened = [next(iter(self.pairs.open([self.labelled[row].index]))) for row in there]
        prompts = [pair.prompt for pair in opened for _ in "ab"]
        images = [image for pair in opened for image in (pair.a, pair.b)]
        scores = [
            self.model(prompts[i : i + self.at_once], images[i : i + self.at_once])[1]
            for i in range(0, len(images), self.at_once)
        ]
        return torch.cat(scores).view(-1, 2), there

    # -- what is kept -------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        if self.adapter is not None:
            self.features.backbone.to(self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["best"], checkpoint["missed"] = self._best, self.missed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._best, self.missed = checkpoint["best"], checkpoint["missed"]

    def on_train_end(self) -> None:
        """Writes the folder, with the weights at the least held-out loss."""
        if self._best:
            self.load_state_dict(self._best["weights"])
        about = {key: value for key, value in self._best.items() if key != "weights"}
        counts = {"pairs": len(self.train_rows), "heldout_pairs": len(self.heldout_rows)}
        self.model.save(self.output_dir, {**counts, "heldout": about})
        log.info("wrote the reward model to %s: held-out accuracy %.3f", self.output_dir, about.get("accuracy", float("nan")))


def key_of(prompt: Prompt, image: Image) -> tuple[str, str]:
    """What a picture's features depend on."""
    pictures = [picture for picture in (prompt.source, *prompt.references) if picture is not None]
    return " ".join([prompt.text, *map(digest, pictures)]), digest(image)
