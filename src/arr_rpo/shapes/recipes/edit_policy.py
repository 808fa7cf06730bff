"""Recipe of the embedded editing policy: the text-to-image policy learns to edit, as FLUX.1-Kontext came from FLUX.1
(arXiv 2506.15742).

`python train.py experiment=shapes_edit_policy` runs it; what ships in `shapes/weights/edit_policy` is the pipeline folder that
it writes, without the VAE, which is that of the text-to-image policy.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arr_rpo.data.datamodule import ResumableLoader
from arr_rpo.shapes.recipes.flow import FlowRecipe, Steps, bytes_of
from arr_rpo.shapes.recipes.policy_parts import build_edit_pipeline
from arr_rpo.shapes.world.edits import Edit, instruction, mistaken_edit, random_edit, target
from arr_rpo.shapes.world.scene import draw

log = logging.getLogger(__name__)


class EditPolicyRecipe(FlowRecipe):
    """Trains transformer, CLIP and T5 of a `FluxKontextPipeline`: T5 on the text of instructions, then flow matching of the
    edited picture, given the instruction and the source.

    Some targets are wrong, as in data that another editor made: the source unchanged, another colour, a thing lost or altered
    that was not named (`edits.mistaken_edit`). So the right mode exists, and shares its probability with wrong ones.

    start_from: the folder of the text-to-image policy. VAE, transformer and text encoders are taken from it; words that only
    instructions have get new embeddings.
    mistaken_rate: share of the pairs whose target is what an imperfect editor makes, right or wrong.
    """

    def __init__(
        self,
        *,
        start_from: str,
        text_steps: int,
        flow_steps: int,
        pairs: int,
        mistaken_rate: float,
        text_batch_size: int,
        text_lr: float,
        flow_batch_size: int,
        flow_lr: float,
        time_shift: float,
        warmup: float,
        ema_decay: float,
        seed: int,
        output_dir: str,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.own(build_edit_pipeline(start_from))
        self.pipe.vae.requires_grad_(False).eval()
        self._edits: list[Edit] = []
        self._pictures: tuple[Tensor, Tensor] | None = None  # sources, targets
        self._latents: tuple[Tensor, Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Draws the pairs of source and target: (N, 3, 32, 32) bytes of each."""
        p, rng = self._p, np.random.default_rng(self._p.seed)
        log.info("drawing %d pairs", p.pairs)
        sources, targets = [], []
        for _ in range(p.pairs):
            source, edit = random_edit(rng)
            make = mistaken_edit if rng.random() < p.mistaken_rate else target
            self._edits.append(edit)
            sources.append(draw(source))
            targets.append(draw(make(source, edit, rng)))
        self._pictures = bytes_of(sources), bytes_of(targets)

    def train_dataloader(self) -> ResumableLoader:
        return ResumableLoader(Steps(self._p.text_steps + self._p.flow_steps))

    def training_step(self, batch: int, batch_idx: int) -> None:
        step, p = self.global_step, self._p
        rng = np.random.default_rng((p.seed, step))
        optimizers: Any = self.optimizers()
        text_optimizer, flow_optimizer = optimizers
        if step < p.text_steps:
            loss = self.text_loss([_told(random_edit(rng)[1], rng) for _ in range(p.text_batch_size)])
            self.update(text_optimizer, loss, self.text, step / p.text_steps, p.text_lr)
            self.report("text/loss", loss)
            return
        if self._latents is None:
            self._latents = self._encoded()
            self.start_flow()
        rows = rng.integers(p.pairs, size=p.flow_batch_size)
        sources, targets = (latents[torch.from_numpy(rows)] for latents in self._latents)
        loss = self.flow_loss(targets, [_told(self._edits[row], rng) for row in rows], rng, sources)
        self.update(flow_optimizer, loss, self.flow, (step - p.text_steps) / p.flow_steps, p.flow_lr)
        self.report("flow/loss", loss)

    @torch.no_grad()
    def _encoded(self) -> tuple[Tensor, Tensor]:
        """The pipeline's latents of all sources, (N, 8, 8, 8), and of all targets, packed, (N, 16, 32)."""
        assert self._pictures is not None
        log.info("encoding the pairs")
        latents = []
        for pictures in self._pictures:
            parts = [part.to(self.device).float() / 127.5 - 1 for part in pictures.split(256)]
            latents.append(torch.cat([self.pipe._encode_vae_image(image=part, generator=None) for part in parts]))
        sources, targets = latents
        return sources, self.pipe._pack_latents(targets, *targets.shape)


def _told(edit: Edit, rng: np.random.Generator) -> str:
    return instruction(edit, int(rng.integers(3)))
