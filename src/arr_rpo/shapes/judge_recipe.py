"""Recipe of the embedded judge: reasoning on text first, then eyes, then all roles on drawings and the policy's samples.

`python train.py experiment=shapes_judge` runs it; the folder it writes is what ships in `shapes/weights/judge`.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from diffusers import FluxPipeline
from PIL import Image

from arr_rpo.data.datamodule import ResumableLoader
from arr_rpo.judge.forms import A_B
from arr_rpo.shapes import oracle, prompts
from arr_rpo.shapes.judge_data import Conversation, Group, Picture, Teacher, collate, varied_scene
from arr_rpo.shapes.judge_parts import build_model, build_processor
from arr_rpo.shapes.policy_parts import MAX_TOKENS
from arr_rpo.shapes.policy_recipe import Steps
from arr_rpo.shapes.scene import draw
from arr_rpo.shapes.vocabulary import IMAGE_SIZE, TAGS

log = logging.getLogger(__name__)
PICTURES_A_GROUP = 3


class JudgeRecipe(pl.LightningModule):
    """Trains a Qwen3-VL of 1.5 M parameters from scratch by next-token prediction on conversations (`judge_data`).

    Like its large namesakes it is a language model first: `text_steps` of conversations about imagined pictures, whose
    descriptions are given; then `caption_steps` of describing pictures; then `steps` of everything. Half of all pictures are
    samples of the policy in `policy_dir`, labelled by the oracle.
    """

    def __init__(
        self,
        *,
        text_steps: int,
        caption_steps: int,
        steps: int,
        drawn_groups: int,
        sampled_groups: int,
        policy_dir: str,
        num_inference_steps: int,
        caption_batch_size: int,
        single_batch_size: int,
        pair_batch_size: int,
        writing_batch_size: int,
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
        self.teacher = Teacher(self.processor)
        self.model = build_model(self.processor)
        self._verdict_tokens = torch.tensor(self.processor.tokenizer.convert_tokens_to_ids(list(A_B)))
        self._drawn: list[Group] = []
        self._sampled: list[Group] = []

    @property
    def _p(self) -> Any:
        """The constructor's arguments."""
        return self.hparams

    def _load_pictures(self) -> None:
        p, rng = self._p, np.random.default_rng(self._p.seed)
        log.info("drawing %d groups of pictures", p.drawn_groups)
        contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(p.drawn_groups)]
        scenes = [varied_scene(content, rng) for content in contents for _ in range(PICTURES_A_GROUP)]
        self._drawn = self._groups(contents, [draw(s) for s in scenes], scenes)
        self._sampled = self._sample_policy()

    def train_dataloader(self) -> ResumableLoader:
        return ResumableLoader(Steps(self._p.text_steps + self._p.caption_steps + self._p.steps))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        p = self._p
        return torch.optim.AdamW(self.model.parameters(), lr=p.lr, betas=(0.9, 0.98), weight_decay=p.weight_decay)

    def training_step(self, batch: int, batch_idx: int) -> None:
        step, p = self.global_step, self._p
        if step >= p.text_steps and not self._drawn:
            self._load_pictures()
        rng = np.random.default_rng((p.seed, step))
        optimizer: Any = self.optimizers()
        seen = max(0.0, step - p.text_steps) / (p.caption_steps + p.steps)  # constant on text, then half a cosine
        for group in optimizer.param_groups:
            group["lr"] = p.lr * min(1.0, (step + 1) / p.warmup_steps) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * seen)))
        optimizer.zero_grad()
        for role, conversations in self._lesson(step, rng).items():
            loss = self._loss(conversations)
            if not torch.isfinite(loss):
                raise RuntimeError(f"the loss of role {role} is {loss.item()} at step {step}: lower the learning rate")
            self.manual_backward(loss)
            self.log(f"loss/{role}", loss.detach(), prog_bar=True)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()

    def _lesson(self, step: int, rng: np.random.Generator) -> dict[str, list[Conversation]]:
        p, teacher = self._p, self.teacher
        show = self._imagined_group if step < p.text_steps + p.caption_steps else self._any_group
        lesson = {
            "single": [teacher.single(show(rng), rng) for _ in range(p.single_batch_size)],
            "pair": [teacher.pair(show(rng), rng) for _ in range(p.pair_batch_size)],
            "write": [teacher.writing(rng) for _ in range(p.writing_batch_size)],
        }
        if step >= p.text_steps:
            groups = [self._any_group(rng) for _ in range(p.caption_batch_size)]
            lesson["describe"] = [teacher.describing(g.pictures[int(rng.integers(PICTURES_A_GROUP))]) for g in groups]
        return lesson

    def _imagined_group(self, rng: np.random.Generator) -> Group:
        content = prompts.random_metadata(str(rng.choice(TAGS)), rng)
        return Group(content, tuple(Picture(varied_scene(content, rng)) for _ in range(PICTURES_A_GROUP)))

    def _any_group(self, rng: np.random.Generator) -> Group:
        pool = self._sampled if rng.random() < 0.5 else self._drawn
        return pool[int(rng.integers(len(pool)))]

    def _loss(self, conversations: list[Conversation]) -> torch.Tensor:
        batch = collate(conversations, self.model.config.image_token_id)
        labels = batch.pop("labels")[:, 1:].to(self.device)
        logits = self.model(**{key: value.to(self.device) for key, value in batch.items()}).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        # The verdict is one token in a long reply: it counts more, or it is learnt last.
        weights = (labels != -100) * torch.where(torch.isin(labels, self._verdict_tokens.to(labels)), 5.0, 1.0)
        return (losses * weights).sum() / weights.sum()

    def _groups(self, contents: list[Any], pictures: list[Image.Image], truths: list[Any]) -> list[Group]:
        pixels = self.processor.image_processor(pictures, return_tensors="pt")["pixel_values"].half()
        patches = pixels.view(len(pictures), -1, pixels.shape[-1])
        made = [Picture(truth, patch) for patch, truth in zip(patches, truths, strict=True)]
        k = PICTURES_A_GROUP
        return [Group(content, tuple(made[k * i : k * (i + 1)])) for i, content in enumerate(contents)]

    @torch.no_grad()
    def _sample_policy(self) -> list[Group]:
        """Samples of the base policy, with what the oracle finds in them."""
        p = self._p
        log.info("sampling %d groups of pictures from %s", p.sampled_groups, p.policy_dir)
        pipe = FluxPipeline.from_pretrained(p.policy_dir, local_files_only=True).to(self.device)
        pipe.set_progress_bar_config(disable=True)
        rng = np.random.default_rng((p.seed, 1))
        contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(p.sampled_groups)]
        texts = [prompts.describe(c) for c in contents for _ in range(PICTURES_A_GROUP)]
        pictures: list[Image.Image] = []
        generator = torch.Generator().manual_seed(p.seed)
        for start in range(0, len(texts), 128):
            pictures += pipe(
                texts[start : start + 128],
                height=IMAGE_SIZE,
                width=IMAGE_SIZE,
                num_inference_steps=p.num_inference_steps,
                max_sequence_length=MAX_TOKENS,
                generator=generator,
            ).images
        return self._groups(contents, pictures, [oracle.detect(picture) for picture in pictures])

    def on_train_end(self) -> None:
        folder = Path(self._p.output_dir)
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        log.info("wrote the judge to %s", folder)
