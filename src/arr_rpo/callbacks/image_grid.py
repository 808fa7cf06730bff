"""Candidates as the judge saw them, after the source where they are edits, with its verdict or grades beside, in the run folder
and in whichever logger shows pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytorch_lightning as pl
from PIL import Image, ImageDraw, ImageFont

from arr_rpo.callbacks.judged_pairs import JudgedCandidates, judged_pairs
from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.callbacks.shown import Card, show
from arr_rpo.run.layout import GRIDS, by_update
from arr_rpo.types import Outcome, Rewards, Rollout

PICTURE, LINE, TEXT_WIDTH, MARGIN = 128, 14, 460, 8


class ImageGrid(pl.Callback):
    """Every `every_n_updates` rollouts and after the last one, the first `pairs` pairs: those compared, or neighbours where
    each was graded by itself."""

    def __init__(self, *, every_n_updates: int, pairs: int) -> None:
        self.every_n_updates, self.pairs = every_n_updates, pairs

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        reward = RubricReward.of(trainer)
        if reward is None or reward.last is None or not (reward.last.rewards.verdicts or reward.last.rewards.grades):
            return
        if batch_idx % self.every_n_updates and batch_idx + 1 < trainer.num_training_batches:
            return
        shown = cards(reward.last.shown(self.pairs), reward.last.rewards, pairs=self.pairs)
        sheet = joined(shown)
        RunRecords.of(trainer).folder.picture(f"{GRIDS}/{by_update(batch_idx)}.png", sheet)
        show(trainer.loggers, shown, sheet, batch_idx)


def cards(rollout: Rollout, rewards: Rewards, pairs: int) -> list[Card]:
    """One a pair: the source if there is one, the pictures, then the prompt and what the judge said of them."""
    return [_card(rollout, judged) for judged in islice(judged_pairs(rewards, rollout.group_size), pairs)]


def joined(cards: Sequence[Card]) -> Image.Image:
    """One under the other."""
    rows = [card.picture for card in cards]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


Line = tuple[str, str]  # a criterion's name, and what is written about it


def _said(judged: JudgedCandidates) -> tuple[list[str], list[Line]]:
    """The verdict or the grades, and each criterion or dimension with what each picture got in it."""
    checks = [(name, "  ".join([*map(_number, got), question])) for name, question, got in judged.checks]
    if judged.grades:
        grades = ["no grade" if grade is None else f"{grade:.2f}" for grade in judged.grades]
        return [f"grade: {'   '.join(grades)}", *([judged.reason] if judged.reason else [])], checks
    said = f"verdict: {judged.outcome}" + ("" if judged.p_a is None else f"   P(A better) = {judged.p_a:.2f}")
    return [said, judged.reason or "criterion: P(yes) of A, of B"], checks


def _number(p: float | None) -> str:
    return "  --" if p is None else f"{p:.2f}"


def _apart(checks: Sequence[Line]) -> list[str]:
    """The checks of an edit, those of a name together and under it: whether it was made, and whether all else stayed."""
    names = dict.fromkeys(name for name, _ in checks)
    return [line for name in names for line in [f"{name}:", *(line for own, line in checks if own == name)]]


def _card(rollout: Rollout, judged: JudgedCandidates) -> Card:
    prompt, better = rollout.prompt_of(judged.rows[0]), {Outcome.A: 0, Outcome.B: 1}.get(judged.outcome or Outcome.TIE)
    lines, checks = _said(judged)
    shown = [("source", False, prompt.source)] if prompt.source else []
    said = [prompt.text, *lines, *(_apart(checks) if shown else [line for _, line in checks])]
    text_left = (2 + len(shown)) * (PICTURE + MARGIN) + MARGIN
    for position, (title, candidate) in enumerate(zip("AB", judged.rows, strict=False)):
        shown.append((title + "  (better)" * (position == better), position == better, rollout.images[candidate]))
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
    return Card(row, "\n".join(said))
