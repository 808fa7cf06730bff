"""A sample of what was judged, with its pictures: what `report.py` shows of the judge beside what an oracle says."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytorch_lightning as pl
from PIL import Image

from arr_rpo.callbacks.judged_pairs import JudgedCandidates, judged_pairs
from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.callbacks.run_records import RunRecords
from arr_rpo.judge.base import Judge
from arr_rpo.judge.rubric_reply import to_json
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import VERDICT_PICTURES, by_update
from arr_rpo.types import Outcome, Prompt, Rewards, Rollout, UserError


class VerdictPictures(pl.Callback):
    """Every `every_n_updates` updates and after the last one, the first `pairs` pairs of the rollout, which the data deal in
    random order: those compared, or neighbours where each candidate was graded by itself. It draws no random numbers.

    `verdict_pictures/update_00020.json` of the run folder has the pairs of an update, with the names of their PNG files.

    Args:
        max_side: pixels; larger pictures are scaled down to it.
        oracle: who knows the truth of these prompts, asked about the sample and about nothing else; None where nobody does.
    """

    def __init__(self, *, every_n_updates: int, pairs: int, max_side: int, oracle: Judge | None) -> None:
        self.every_n_updates, self.pairs, self.max_side = every_n_updates, pairs, max_side
        self.oracle = oracle

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        reward = RubricReward.of(trainer)
        if reward is None or reward.last is None:
            return
        update, _ = batch
        if update % self.every_n_updates and update + 1 < trainer.num_training_batches:
            return
        self.write(RunRecords.of(trainer).folder, reward.last.shown(self.pairs), reward.last.rewards, update)

    def write(self, folder: RunFolder, rollout: Rollout, rewards: Rewards, update: int) -> None:
        """The sample of one update, over what an earlier try at the same update may have left."""
        if not folder.writes:
            return
        records = []
        for number, judged in enumerate(islice(judged_pairs(rewards, rollout.group_size), self.pairs)):
            stem, prompt = f"{by_update(update)}_{number}", rollout.prompt_of(judged.rows[0])
            images = [rollout.images[row] for row in judged.rows]
            records.append(
                {
                    "prompt": prompt.text,
                    "prompt_id": prompt.id,
                    **_asked(rollout, rewards, judged),
                    "pictures": [
                        self._save(folder, image, f"{stem}_{side}.png") for side, image in zip("ab", images, strict=False)
                    ],
                    "source": self._save(folder, prompt.source, f"{stem}_source.png") if prompt.source else None,
                    "oracle": truth(self.oracle, prompt, images, judged) if self.oracle else None,
                }
            )
        folder.json(f"{VERDICT_PICTURES}/{by_update(update)}.json", {"update": update, "pairs": records})

    def _save(self, folder: RunFolder, image: Image.Image, name: str) -> str:
        folder.picture(f"{VERDICT_PICTURES}/{name}", image, self.max_side)
        return name


def truth(oracle: Judge, prompt: Prompt, images: list[Image.Image], judged: JudgedCandidates) -> dict[str, Any] | None:
    """What the oracle says of the same pictures, or None where it knows nothing of the prompt.

    outcome: by the prompt's own criteria; None for one picture. criteria: those, with an answer for each picture. checks: its
    answer to each question that the judge was asked, in that order; None where the question is of another world.
    """
    try:
        verdict = oracle.compare([prompt], [(images[0], images[-1])], [None])[0]
    except UserError:
        return None
    if verdict.outcome is Outcome.FAILED:
        return None
    own = [[c.question, [c.a > 0.5, c.b > 0.5][: len(images)]] for c in verdict.checks]
    answers = []
    for _, question, _ in judged.checks:
        replies = oracle.check([prompt] * len(images), images, [question] * len(images))
        answers.append([None if reply.value is None else reply.value > 0.5 for reply in replies])
    return {"outcome": str(verdict.outcome) if len(images) > 1 else None, "criteria": own, "checks": answers}


def _asked(rollout: Rollout, rewards: Rewards, judged: JudgedCandidates) -> dict[str, Any]:
    rubric = rewards.rubrics[judged.rows[0] // rollout.group_size] if rewards.rubrics else None
    return {
        "kind": "grades" if judged.grades else "verdict",
        "rubric": to_json(rubric)["criteria"] if rubric else None,
        "candidates": [row % rollout.group_size for row in judged.rows],
        "outcome": judged.outcome and str(judged.outcome),
        "p_a": judged.p_a,
        "p_a_by_order": judged.p_a_by_order,
        "grades": list(judged.grades) or None,
        "checks": [
            [name, question, [None if p is None else round(p, 4) for p in said]] for name, question, said in judged.checks
        ],
        "reason": judged.reason,
    }
