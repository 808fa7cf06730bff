"""Pairs as the judge saw them, with the rubric and the verdict beside, in TensorBoard and in the run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning.loggers import TensorBoardLogger

from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.types import Rewards, Rollout, Verdict

PICTURE, LINE, TEXT_WIDTH, MARGIN = 128, 14, 460, 8


class ImageGrid(pl.Callback):
    """Every `every_n_updates` rollouts and after the last one, the first `pairs` pairs."""

    def __init__(self, *, every_n_updates: int, pairs: int, run_dir: str) -> None:
        self.every_n_updates, self.pairs, self.folder = every_n_updates, pairs, Path(run_dir) / "grids"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        reward = RubricReward.of(trainer)
        if reward is None or reward.last is None or not reward.last[1].verdicts:
            return
        if batch_idx % self.every_n_updates and batch_idx + 1 < trainer.num_training_batches:
            return
        picture = grid(*reward.last, pairs=self.pairs)
        self.folder.mkdir(parents=True, exist_ok=True)
        picture.save(self.folder / f"update_{batch_idx:05d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("pairs", np.asarray(picture), trainer.global_step, dataformats="HWC")


def grid(rollout: Rollout, rewards: Rewards, pairs: int) -> Image.Image:
    """One row a pair: A, B, then prompt, verdict, and each criterion with the judge's two probabilities of yes."""
    rows = [
        _row(rollout.images[a], rollout.images[b], rollout.prompt_of(a).text, verdict)
        for (a, b), verdict in list(zip(rewards.verdict_rows, rewards.verdicts, strict=True))[:pairs]
    ]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _row(a: Image.Image, b: Image.Image, prompt: str, verdict: Verdict) -> Image.Image:
    said = f"verdict: {verdict.outcome}" + ("" if verdict.p_a is None else f"   P(A better) = {verdict.p_a:.2f}")
    lines = [prompt, said, verdict.reason or "criterion: P(yes) of A, of B"]
    lines += [f"{check.a:.2f}  {check.b:.2f}  {check.question}" for check in verdict.checks]
    height = max(PICTURE + LINE, LINE * len(lines)) + 2 * MARGIN
    row = Image.new("RGB", (2 * (PICTURE + MARGIN) + TEXT_WIDTH + MARGIN, height), "white")
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(12)
    for position, (name, picture) in enumerate((("A", a), ("B", b))):
        left = MARGIN + position * (PICTURE + MARGIN)
        won = str(verdict.outcome) == name
        pen.text((left, MARGIN - 4), f"{name}{'  (better)' if won else ''}", fill="green" if won else "black", font=font)
        row.paste(picture.convert("RGB").resize((PICTURE, PICTURE), Image.Resampling.NEAREST), (left, MARGIN + LINE))
    for number, line in enumerate(lines):
        pen.text((2 * (PICTURE + MARGIN) + MARGIN, MARGIN + number * LINE), line, fill="black", font=font)
    pen.line([(0, height - 1), (row.width, height - 1)], fill="lightgrey")
    return row
