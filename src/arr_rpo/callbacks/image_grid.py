"""Candidates as the judge saw them, after the source where they are edits, with its verdict or grades beside, in TensorBoard
and in the run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning.loggers import TensorBoardLogger

from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.types import Grade, Outcome, Prompt, Rewards, Rollout, Verdict

PICTURE, LINE, TEXT_WIDTH, MARGIN = 128, 14, 460, 8


class ImageGrid(pl.Callback):
    """Every `every_n_updates` rollouts and after the last one, the first `pairs` pairs: those compared, or neighbours where
    each was graded by itself."""

    def __init__(self, *, every_n_updates: int, pairs: int, run_dir: str) -> None:
        self.every_n_updates, self.pairs, self.folder = every_n_updates, pairs, Path(run_dir) / "grids"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        reward = RubricReward.of(trainer)
        if reward is None or reward.last is None or not (reward.last[1].verdicts or reward.last[1].grades):
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
    """One row a pair: the source if there is one, the pictures, then the prompt and what the judge said of them."""
    said = _verdicts(rollout, rewards) if rewards.verdicts else _grades(rollout, rewards)
    rows = [_row(*row) for row, _ in zip(said, range(pairs), strict=False)]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


Check = tuple[str, str]  # criterion's name, and the line about it
Row = tuple[Prompt, list[Image.Image], int | None, list[str], list[Check]]  # candidates, which is better, lines of text


def _verdicts(rollout: Rollout, rewards: Rewards) -> Iterator[Row]:
    for (a, b), verdict in zip(rewards.verdict_rows, rewards.verdicts, strict=True):
        better = {Outcome.A: 0, Outcome.B: 1}.get(verdict.outcome)
        yield rollout.prompt_of(a), [rollout.images[a], rollout.images[b]], better, *_verdict_lines(verdict)


def _grades(rollout: Rollout, rewards: Rewards) -> Iterator[Row]:
    """Neighbours of a group; the last of an odd group stands alone."""
    size = rollout.group_size
    for first in range(len(rollout.prompts) * size):
        if first % size % 2:
            continue
        rows = range(first, min(first + 2, (first // size + 1) * size))
        grades = [rewards.grades[row] for row in rows]
        values = [grade.value for grade in grades]
        known = [value for value in values if value is not None]
        better = values.index(max(known)) if len(known) == len(rows) and len(set(known)) > 1 else None
        yield rollout.prompt_of(first), [rollout.images[row] for row in rows], better, *_grade_lines(grades)


def _verdict_lines(verdict: Verdict) -> tuple[list[str], list[Check]]:
    """The verdict, and each criterion with the judge's two probabilities of yes."""
    said = f"verdict: {verdict.outcome}" + ("" if verdict.p_a is None else f"   P(A better) = {verdict.p_a:.2f}")
    checks = [(check.name, f"{check.a:.2f}  {check.b:.2f}  {check.question}") for check in verdict.checks]
    return [said, verdict.reason or "criterion: P(yes) of A, of B"], checks


def _grade_lines(grades: Sequence[Grade]) -> tuple[list[str], list[Check]]:
    """The grades, and each criterion or dimension with what each picture got in it."""
    said = "   ".join("no grade" if grade.value is None else f"{grade.value:.2f}" for grade in grades)
    got = [{(name, question): f"{p:.2f}" for name, question, p in grade.checks} for grade in grades]
    asked = dict.fromkeys(key for some in got for key in some)
    checks = [(key[0], "  ".join([*(some.get(key, "  --") for some in got), key[1]])) for key in asked]
    return [f"grade: {said}", *(grade.reason for grade in grades if grade.reason)], checks


def _apart(checks: Sequence[Check]) -> list[str]:
    """The checks of an edit, those of a name together and under it: whether it was made, and whether all else stayed."""
    names = dict.fromkeys(name for name, _ in checks)
    return [line for name in names for line in [f"{name}:", *(line for own, line in checks if own == name)]]


def _row(
    prompt: Prompt, candidates: list[Image.Image], better: int | None, lines: list[str], checks: list[Check]
) -> Image.Image:
    shown = [("source", False, prompt.source)] if prompt.source else []
    said = [prompt.text, *lines, *(_apart(checks) if shown else [line for _, line in checks])]
    text_left = (2 + len(shown)) * (PICTURE + MARGIN) + MARGIN
    for position, (title, picture) in enumerate(zip("AB", candidates, strict=False)):
        shown.append((title + "  (better)" * (position == better), position == better, picture))
    height = max(PICTURE + LINE, LINE * len(said)) + 2 * MARGIN
    row = Image.new("RGB", (text_left + TEXT_WIDTH, height), "white")
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(12)
    for position, (title, won, picture) in enumerate(shown):
        left = MARGIN + position * (PICTURE + MARGIN)
        pen.text((left, MARGIN - 4), title, fill="green" if won else "black", font=font)
        row.paste(picture.convert("RGB").resize((PICTURE, PICTURE), Image.Resampling.NEAREST), (left, MARGIN + LINE))
    for number, line in enumerate(said):
        pen.text((text_left, MARGIN + number * LINE), line, fill="black", font=font)
    pen.line([(0, height - 1), (row.width, height - 1)], fill="lightgrey")
    return row
