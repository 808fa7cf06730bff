"""Recipe of the embedded judge: reasoning on text first, then eyes, then all roles on drawings and the policy's samples.

`python train.py experiment=shapes_judge` runs it. The model card in `shapes/weights/judge` says how what ships was made.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from arr_rpo.data.datamodule import ResumableLoader
from arr_rpo.judge.local.qwen_processors import save_qwen3_vl
from arr_rpo.shapes.recipes.judge_lessons import KINDS, Curriculum, Lessons
from arr_rpo.shapes.recipes.judge_parts import build_model, build_processor, see_together, warm_start
from arr_rpo.shapes.recipes.judge_pictures import Studio
from arr_rpo.shapes.recipes.teacher import Teacher

log = logging.getLogger(__name__)


class JudgeRecipe(pl.LightningModule):
    """Trains a Qwen3-VL of 1.5 M parameters by next-token prediction on conversations.

    Like its large namesakes it is a language model first, then it learns to see, then all at once: `judge_lessons` has
    the phases. Pictures are drawn, or samples of the base policies `policy` and `edit_policy` (pipeline folders, or `shapes`
    and `shapes_edit`), labelled by the oracle: `judge_pictures.Studio`.

    start_from: the folder of an embedded judge to go on from, or null for one at birth.
    workers: processes that compose lessons; 0 composes them in between, and takes as many steps to the same weights.
    """

    def __init__(
        self,
        *,
        start_from: str | None,
        text_steps: int,
        caption_steps: int,
        steps: int,
        pictured: float,
        edits: float,
        tastes: float,
        drawn_groups: int,
        sampled_groups: int,
        drawn_edits: int,
        sampled_edits: int,
        policy: str,
        edit_policy: str,
        num_inference_steps: int,
        caption_batch_size: int,
        single_batch_size: int,
        turns: int,
        pair_batch_size: int,
        writing_batch_size: int,
        naming_batch_size: int,
        tokens_a_pass: int,
        workers: int,
        lr: float,
        warmup_steps: int,
        weight_decay: float,
        seed: int,
        output_dir: str,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.processor = build_processor()
        self.model = build_model(self.processor)
        if start_from:
            warm_start(self.model, self.processor, start_from)
        see_together(self.model)

    @property
    def _p(self) -> Any:
        """The constructor's arguments."""
        return self.hparams

    def train_dataloader(self) -> ResumableLoader:
        p = self._p
        curriculum = Curriculum(**{field.name: p[field.name] for field in dataclasses.fields(Curriculum)})
        studio = Studio(self.processor.image_processor, p.policy, p.edit_policy, p.num_inference_steps, self.device, p.seed)
        sizes = (p.drawn_groups, p.sampled_groups, p.drawn_edits, p.sampled_edits)
        pools = studio.pools(*(sizes if p.caption_steps + p.steps else (0, 0, 0, 0)))
        model, teacher = self.model, Teacher(self.processor, p.tastes)
        lessons = Lessons(teacher, curriculum, pools, model.config.image_token_id, model.model.get_rope_index)
        return ResumableLoader(lessons, p.workers)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        p = self._p
        return torch.optim.AdamW(self.model.parameters(), lr=p.lr, betas=(0.9, 0.98), weight_decay=p.weight_decay)

    def training_step(self, batch: list[dict[str, Tensor]], batch_idx: int) -> None:
        step = self.global_step
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = self._rate(step)
        optimizer.zero_grad()
        losses = torch.zeros(len(KINDS), device=self.device)
        for part in batch:
            kinds = part.pop("kinds")
            by_row = self._losses(part)
            self.manual_backward(by_row.sum())
            losses.index_add_(0, kinds, by_row.detach())
        self._note(losses.tolist(), step)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()

    def _note(self, losses: list[float], step: int) -> None:
        for kind, loss in zip(KINDS, losses, strict=True):
            if not math.isfinite(loss):
                raise RuntimeError(f"the loss of {kind} conversations is {loss} at step {step}: lower the learning rate")
            if loss:
                self.log(f"loss/{kind}", loss, prog_bar=True)

    def _rate(self, step: int) -> float:
        """Constant on text, then half a cosine."""
        p = self._p
        done = max(0.0, step - p.text_steps) / max(1, p.caption_steps + p.steps)
        return float(p.lr * min(1.0, (step + 1) / p.warmup_steps) * _half_cosine(done))

    def _losses(self, part: dict[str, Tensor]) -> Tensor:
        """(B,) sum over a conversation's tokens of weight times cross-entropy."""
        weights = part.pop("weights")[:, 1:]
        logits = self.model(**part).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), part["input_ids"][:, 1:], reduction="none")
        return (losses * weights).sum(1)

    def on_train_end(self) -> None:
        folder = Path(self._p.output_dir)
        self.model.save_pretrained(folder)
        save_qwen3_vl(self.processor, folder)
        log.info("wrote the judge to %s", folder)


def _half_cosine(done: float) -> float:
    """From 1 to 0.02."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
