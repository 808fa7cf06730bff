"""Recipe of the embedded judge: reasoning on text first, then eyes, then all roles on drawings and the policy's samples.

`python train.py experiment=shapes_judge` runs it. The model card in `shapes/weights/judge_roles` says how what ships was made.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image

from arr_rpo.data.datamodule import ResumableLoader
from arr_rpo.policy.loading import load_pipeline
from arr_rpo.shapes import oracle, prompts
from arr_rpo.shapes.edits import Edit, instruction, mistaken_edit, random_edit, to_metadata
from arr_rpo.shapes.flow_recipe import Steps
from arr_rpo.shapes.judge_data import Conversation, Group, Picture, collate, of_like_length, varied_scene
from arr_rpo.shapes.judge_parts import build_model, build_processor, warm_start
from arr_rpo.shapes.policy_parts import MAX_TOKENS
from arr_rpo.shapes.scene import Scene, draw
from arr_rpo.shapes.teacher import Teacher
from arr_rpo.shapes.vocabulary import IMAGE_SIZE, TAGS

log = logging.getLogger(__name__)
PICTURES_A_GROUP = 3


class JudgeRecipe(pl.LightningModule):
    """Trains a Qwen3-VL of 1.5 M parameters by next-token prediction on conversations (`judge_data`).

    Like its large namesakes it is a language model first: `text_steps` of conversations about imagined pictures, whose
    descriptions are given; then `caption_steps` in which it also describes pictures; then `steps` of which a share `pictured`
    shows pictures. A share `edits` of the lessons is about edits of a source. Half of the pictures are samples of the base
    policies `policy` and `edit_policy` (pipeline folders, or `shapes` and `shapes_edit`), labelled by the oracle.

    start_from: the folder of an embedded judge to go on from, or null for one at birth.
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
        tokens_a_pass: int,
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
        if start_from:
            warm_start(self.model, self.processor, start_from)
        self._drawn: list[Group] = []
        self._sampled: list[Group] = []
        self._drawn_edits: list[Group] = []
        self._sampled_edits: list[Group] = []

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
        self._drawn_edits = self._draw_edits(rng)
        self._sampled_edits = self._sample_edit_policy()

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
        for group in optimizer.param_groups:
            group["lr"] = self._rate(step)
        optimizer.zero_grad()
        for role, conversations in self._lesson(step, rng).items():
            loss = self._learn(conversations)
            if not math.isfinite(loss):
                raise RuntimeError(f"the loss of role {role} is {loss} at step {step}: lower the learning rate")
            self.log(f"loss/{role}", loss, prog_bar=True)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()

    def _rate(self, step: int) -> float:
        """Constant on text, then half a cosine."""
        p = self._p
        done = max(0.0, step - p.text_steps) / (p.caption_steps + p.steps)
        return float(p.lr * min(1.0, (step + 1) / p.warmup_steps) * _half_cosine(done))

    def _lesson(self, step: int, rng: np.random.Generator) -> dict[str, list[Conversation]]:
        p, teacher = self._p, self.teacher
        pictured = rng.random() < p.pictured and step >= p.text_steps + p.caption_steps
        show = self._any_group if pictured else self._imagined_group
        lesson = {
            "single": [teacher.single(show(rng), rng, p.turns) for _ in range(p.single_batch_size)],
            "pair": [teacher.pair(show(rng), rng) for _ in range(p.pair_batch_size)],
            "write": [teacher.writing(show(rng), rng) for _ in range(p.writing_batch_size)],
        }
        if pictured or p.text_steps <= step < p.text_steps + p.caption_steps:
            lesson["describe"] = self._described(rng, p.caption_batch_size)
        return lesson

    def _described(self, rng: np.random.Generator, count: int) -> list[Conversation]:
        groups = [self._any_group(rng) for _ in range(count)]
        return [self.teacher.describing(g.pictures[int(rng.integers(PICTURES_A_GROUP))]) for g in groups]

    def _imagined_group(self, rng: np.random.Generator) -> Group:
        if rng.random() < self._p.edits:
            source, edit = random_edit(rng)
            made = tuple(Picture(mistaken_edit(source, edit, rng)) for _ in range(PICTURES_A_GROUP))
            return Group(to_metadata(source, edit), made, Picture(source))
        content = prompts.random_metadata(str(rng.choice(TAGS)), rng)
        return Group(content, tuple(Picture(varied_scene(content, rng)) for _ in range(PICTURES_A_GROUP)))

    def _any_group(self, rng: np.random.Generator) -> Group:
        drawn, sampled = self._drawn, self._sampled
        if rng.random() < self._p.edits:
            drawn, sampled = self._drawn_edits, self._sampled_edits
        pool = drawn if rng.random() < 0.5 else sampled
        return pool[int(rng.integers(len(pool)))]

    def _learn(self, conversations: list[Conversation]) -> float:
        """Adds the gradient of the conversations' mean loss. Those of like length go together, so that little is padding."""
        total = sum(sum(c.weights[1:]) for c in conversations)
        mean = 0.0
        for part in of_like_length(conversations, self._p.tokens_a_pass):
            loss = self._loss(part) / total
            self.manual_backward(loss)
            mean += float(loss.detach())
        return mean

    def _loss(self, conversations: list[Conversation]) -> torch.Tensor:
        """Sum over tokens of weight times cross-entropy."""
        batch = collate(conversations, self.model.config.image_token_id)
        weights = batch.pop("weights")[:, 1:].to(self.device)
        inputs = {key: value.to(self.device) for key, value in batch.items()}
        logits = self.model(**inputs).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), inputs["input_ids"][:, 1:], reduction="none")
        return (losses * weights).sum()

    def _groups(self, contents: list[Any], pictures: list[Image.Image], truths: list[Any]) -> list[Group]:
        made, k = self._pictures(pictures, truths), PICTURES_A_GROUP
        return [Group(content, tuple(made[k * i : k * (i + 1)])) for i, content in enumerate(contents)]

    def _pictures(self, pictures: list[Image.Image], truths: list[Any]) -> list[Picture]:
        pixels = self.processor.image_processor(pictures, return_tensors="pt")["pixel_values"].half()
        patches = pixels.view(len(pictures), -1, pixels.shape[-1])
        return [Picture(truth, patch) for patch, truth in zip(patches, truths, strict=True)]

    def _draw_edits(self, rng: np.random.Generator) -> list[Group]:
        p = self._p
        log.info("drawing %d sources and edits of them", p.drawn_edits)
        cases = [random_edit(rng) for _ in range(p.drawn_edits)]
        made = [mistaken_edit(*case, rng) for case in cases for _ in range(PICTURES_A_GROUP)]
        return self._edit_groups(cases, [draw(scene) for scene in made], made)

    def _edit_groups(self, cases: list[tuple[Scene, Edit]], pictures: list[Image.Image], truths: list[Any]) -> list[Group]:
        groups = self._groups([to_metadata(*case) for case in cases], pictures, truths)
        scenes = [scene for scene, _ in cases]
        sources = self._pictures([draw(scene) for scene in scenes], scenes)
        return [dataclasses.replace(group, source=source) for group, source in zip(groups, sources, strict=True)]

    def _sample_policy(self) -> list[Group]:
        """Samples of the base policy, with what the oracle finds in them."""
        p = self._p
        log.info("sampling %d groups of pictures from policy %s", p.sampled_groups, p.policy)
        rng = np.random.default_rng((p.seed, 1))
        contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(p.sampled_groups)]
        pictures = self._sample(p.policy, [prompts.describe(c) for c in contents])
        return self._groups(contents, pictures, [oracle.detect(picture) for picture in pictures])

    def _sample_edit_policy(self) -> list[Group]:
        """Edits of drawn sources by the base policy, with what the oracle finds in them."""
        p = self._p
        log.info("sampling %d groups of edits from policy %s", p.sampled_edits, p.edit_policy)
        rng = np.random.default_rng((p.seed, 2))
        cases = [random_edit(rng) for _ in range(p.sampled_edits)]
        told = [instruction(edit, int(rng.integers(3))) for _, edit in cases]
        pictures = self._sample(p.edit_policy, told, [draw(source) for source, _ in cases])
        return self._edit_groups(cases, pictures, [oracle.detect(picture) for picture in pictures])

    @torch.no_grad()
    def _sample(self, policy: str, texts: list[str], sources: list[Image.Image] | None = None) -> list[Image.Image]:
        """`PICTURES_A_GROUP` pictures of each text, one after the other, made from its source where there are sources."""
        pipe = load_pipeline(policy, torch.float32, {}).to(self.device)
        pipe.set_progress_bar_config(disable=True)
        wanted = [i for i in range(len(texts)) for _ in range(PICTURES_A_GROUP)]
        generator = torch.Generator().manual_seed(self._p.seed)
        pictures: list[Image.Image] = []
        for start in range(0, len(wanted), 128):
            rows = wanted[start : start + 128]
            shown = {"image": [sources[i] for i in rows], "max_area": IMAGE_SIZE**2, "_auto_resize": False} if sources else {}
            pictures += pipe(
                prompt=[texts[i] for i in rows],
                height=IMAGE_SIZE,
                width=IMAGE_SIZE,
                num_inference_steps=self._p.num_inference_steps,
                max_sequence_length=MAX_TOKENS,
                generator=generator,
                **shown,
            ).images
        return pictures

    def on_train_end(self) -> None:
        folder = Path(self._p.output_dir)
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        log.info("wrote the judge to %s", folder)


def _half_cosine(done: float) -> float:
    """From 1 to 0.02."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
