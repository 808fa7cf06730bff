"""Recipe of the embedded policy: a VAE on scenes, T5 on text, then flow matching on latents with noisy captions.

`python train.py experiment=shapes_policy` runs it; the pipeline folder it writes is what ships in `shapes/weights/policy`.
The base is imperfect on purpose in one way only, captions with mistakes: the right mode exists and shares its probability
with wrong ones, as in a model trained on the web, so that reinforcement learning has something to move.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from arr_rpo.data.datamodule import ResumableLoader
from arr_rpo.shapes.recipes.flow import FlowRecipe, Steps, bytes_of
from arr_rpo.shapes.recipes.policy_parts import build_pipeline
from arr_rpo.shapes.world import prompts
from arr_rpo.shapes.world.scene import draw
from arr_rpo.shapes.world.vocabulary import PHRASINGS, TAGS
from arr_rpo.types import UserError

__all__ = ["PolicyRecipe", "Steps"]

log = logging.getLogger(__name__)


class PolicyRecipe(FlowRecipe):
    """Trains all parts of the embedded `FluxPipeline` in one fit: the VAE, then T5 on text, then the rest.

    vae_from: a pipeline folder whose VAE is taken as it is; `vae_steps` is then 0.
    """

    def __init__(
        self,
        *,
        vae_steps: int,
        vae_from: str | None,
        text_steps: int,
        flow_steps: int,
        scenes: int,
        caption_error_rate: float,
        vae_batch_size: int,
        vae_lr: float,
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
        self.own(build_pipeline())
        if vae_from is not None:
            if vae_steps:
                raise UserError(f"vae_steps={vae_steps} would retrain the VAE of vae_from={vae_from}: set vae_steps=0")
            self.pipe.register_modules(vae=AutoencoderKL.from_pretrained(vae_from, subfolder="vae", local_files_only=True))
        self.vae = self.pipe.vae
        self._pictures: Tensor | None = None
        self._contents: list[dict[str, Any]] = []
        self._latents: Tensor | None = None

    def setup(self, stage: str) -> None:
        """Draws the scenes: (N, 3, 32, 32) bytes, and what each shows."""
        p, rng = self._p, np.random.default_rng(self._p.seed)
        log.info("drawing %d scenes", p.scenes)
        self._contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(p.scenes)]
        self._pictures = bytes_of([draw(prompts.scene_of(content, rng)) for content in self._contents])

    def train_dataloader(self) -> ResumableLoader:
        return ResumableLoader(Steps(self._p.vae_steps + self._p.text_steps + self._p.flow_steps))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        vae = torch.optim.AdamW(self.vae.parameters(), lr=self._p.vae_lr, betas=(0.9, 0.99), weight_decay=0.0)
        return [vae, *super().configure_optimizers()]

    def training_step(self, batch: int, batch_idx: int) -> None:
        step, p = self.global_step, self._p
        rng = np.random.default_rng((p.seed, step))
        optimizers: Any = self.optimizers()
        vae_optimizer, text_optimizer, flow_optimizer = optimizers
        if step < p.vae_steps:
            loss = self._vae_loss(torch.from_numpy(rng.integers(p.scenes, size=p.vae_batch_size)), step)
            self.update(vae_optimizer, loss, self.vae, step / p.vae_steps, p.vae_lr)
            self.report("vae/loss", loss)
        elif (step := step - p.vae_steps) < p.text_steps:
            contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(p.text_batch_size)]
            loss = self.text_loss([self._caption(content, rng) for content in contents])
            self.update(text_optimizer, loss, self.text, step / p.text_steps, p.text_lr)
            self.report("text/loss", loss)
        else:
            if self._latents is None:
                self._latents = self._encode_scenes()
                self.start_flow()
            rows = rng.integers(p.scenes, size=p.flow_batch_size)
            captions = [self._caption(self._contents[row], rng) for row in rows]
            loss = self.flow_loss(self._latents[torch.from_numpy(rows)], captions, rng)
            self.update(flow_optimizer, loss, self.flow, (step - p.text_steps) / p.flow_steps, p.flow_lr)
            self.report("flow/loss", loss)

    def _vae_loss(self, rows: Tensor, step: int) -> Tensor:
        assert self._pictures is not None
        x = self._pictures[rows].to(self.device).float() / 127.5 - 1
        posterior = self.vae.encode(x).latent_dist
        z = posterior.mode() + posterior.std * _noise(posterior.mean.shape, self._p.seed, step).to(self.device)
        loss: Tensor = torch.nn.functional.mse_loss(self.vae.decode(z).sample, x) + 1e-6 * posterior.kl().mean()
        return loss

    @torch.no_grad()
    def _encode_scenes(self) -> Tensor:
        """(N, 16, 32) packed, normalised latents of all scenes; sets the VAE's scaling and shift from their statistics."""
        assert self._pictures is not None
        log.info("encoding the scenes")
        chunks = [
            self.vae.encode(part.to(self.device).float() / 127.5 - 1).latent_dist.mode() for part in self._pictures.split(256)
        ]
        z = torch.cat(chunks)
        shift, scale = float(z.mean()), float(1 / z.std())
        self.vae.register_to_config(shift_factor=shift, scaling_factor=scale)
        z = (z - shift) * scale
        n, c, h, w = z.shape
        packed: Tensor = self.pipe._pack_latents(z, n, c, h, w)
        return packed

    def _caption(self, content: dict[str, Any], rng: np.random.Generator) -> str:
        phrasing = PHRASINGS[int(rng.integers(len(PHRASINGS)))]
        return prompts.describe(prompts.mistaken(content, self._p.caption_error_rate, rng), phrasing)


def _noise(shape: torch.Size, *seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32))
