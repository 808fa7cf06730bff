"""Recipe of the embedded policy: a VAE on scenes, T5 on text, then flow matching on latents with noisy captions.

`python train.py experiment=shapes_policy` runs it; the pipeline folder it writes is what ships in `shapes/weights/policy`.
The base is imperfect on purpose in one way only, captions with mistakes: the right mode exists and shares its probability
with wrong ones, as in a model trained on the web, so that reinforcement learning has something to move.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from diffusers import AutoencoderKL
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.utils.data import Dataset

from arr_rpo.data.datamodule import ResumableLoader
from arr_rpo.shapes import prompts
from arr_rpo.shapes.policy_parts import MAX_TOKENS, TEXT_WIDTH, build_pipeline
from arr_rpo.shapes.scene import draw
from arr_rpo.shapes.vocabulary import PHRASINGS, TAGS
from arr_rpo.types import UserError

log = logging.getLogger(__name__)
NEIGHBOURS = (-4, -3, -2, -1, 1, 2, 3, 4)  # offsets of the words that a T5 embedding must know


class Steps(Dataset[int]):
    """The numbers 0 .. n - 1: a recipe draws what it needs for step i from a generator seeded by (seed, i)."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        return index


class PolicyRecipe(pl.LightningModule):
    """Trains all parts of the embedded `FluxPipeline` in one fit: the VAE, then T5 on text, then the rest.

    T5: Flux gives text tokens no position, so which colour belongs to which shape must be in T5's embeddings; flow matching
    alone does not teach it that. So T5 is pretrained on text, as the real one is, here to name each word's neighbours, and
    then frozen.
    Flow matching (arXiv 2210.02747) with logit-normal times shifted by `time_shift` towards noise (arXiv 2403.03206, eq. 23):
    a small latent shows its content early, so all that a caption can decide is decided at high noise. CLIP is trained along;
    the weights that are kept are the exponential moving average.

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
        self.automatic_optimization = False
        self.pipe = build_pipeline()
        if vae_from is not None:
            if vae_steps:
                raise UserError(f"vae_steps={vae_steps} would retrain the VAE of vae_from={vae_from}: set vae_steps=0")
            self.pipe.register_modules(vae=AutoencoderKL.from_pretrained(vae_from, subfolder="vae", local_files_only=True))
        self.vae = self.pipe.vae
        self.text = torch.nn.ModuleList(
            [self.pipe.text_encoder_2, torch.nn.Linear(TEXT_WIDTH, len(NEIGHBOURS) * len(self.pipe.tokenizer_2))]
        )
        self.flow = torch.nn.ModuleList([self.pipe.transformer, self.pipe.text_encoder])
        self.ema = EMAModel(self.flow.parameters(), decay=ema_decay)
        self._pictures: Tensor | None = None
        self._contents: list[dict[str, Any]] = []
        self._latents: Tensor | None = None

    @property
    def _p(self) -> Any:
        """The constructor's arguments."""
        return self.hparams

    def setup(self, stage: str) -> None:
        """Draws the scenes: (N, 3, 32, 32) bytes, and what each shows."""
        p, rng = self._p, np.random.default_rng(self._p.seed)
        log.info("drawing %d scenes", p.scenes)
        self._contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(p.scenes)]
        pictures = np.stack([np.asarray(draw(prompts.scene_of(content, rng))) for content in self._contents])
        self._pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()

    def train_dataloader(self) -> ResumableLoader:
        return ResumableLoader(Steps(self._p.vae_steps + self._p.text_steps + self._p.flow_steps))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        vae = torch.optim.AdamW(self.vae.parameters(), lr=self._p.vae_lr, betas=(0.9, 0.99), weight_decay=0.0)
        text = torch.optim.AdamW(self.text.parameters(), lr=self._p.text_lr, betas=(0.9, 0.99), weight_decay=0.01)
        flow = torch.optim.AdamW(self.flow.parameters(), lr=self._p.flow_lr, betas=(0.9, 0.99), weight_decay=0.01)
        return [vae, text, flow]

    def training_step(self, batch: int, batch_idx: int) -> None:
        step, p = self.global_step, self._p
        rng = np.random.default_rng((p.seed, step))
        optimizers: Any = self.optimizers()
        vae_optimizer, text_optimizer, flow_optimizer = optimizers
        if step < p.vae_steps:
            loss = self._vae_loss(torch.from_numpy(rng.integers(p.scenes, size=p.vae_batch_size)), step)
            self._update(vae_optimizer, loss, self.vae, step / p.vae_steps, p.vae_lr)
            self._report("vae/loss", loss)
        elif (step := step - p.vae_steps) < p.text_steps:
            loss = self._text_loss(rng)
            self._update(text_optimizer, loss, self.text, step / p.text_steps, p.text_lr)
            self._report("text/loss", loss)
        else:
            if self._latents is None:
                self._latents = self._encode_scenes()
                self.pipe.text_encoder_2.requires_grad_(False)
            loss = self._flow_loss(rng.integers(p.scenes, size=p.flow_batch_size), rng)
            self._update(flow_optimizer, loss, self.flow, (step - p.text_steps) / p.flow_steps, p.flow_lr)
            self.ema.step(self.flow.parameters())
            self._report("flow/loss", loss)

    def _report(self, name: str, loss: Tensor) -> None:
        """To the bar and to the loggers; `self.log` alone would go on drawing a phase's last value after its end."""
        self.log(name, loss.detach(), prog_bar=True, logger=False)
        for logger in self.loggers:
            logger.log_metrics({name: loss.item()}, step=self.global_step)

    def _vae_loss(self, rows: Tensor, step: int) -> Tensor:
        assert self._pictures is not None
        x = self._pictures[rows].to(self.device).float() / 127.5 - 1
        posterior = self.vae.encode(x).latent_dist
        z = posterior.mode() + posterior.std * _noise(posterior.mean.shape, self._p.seed, step).to(self.device)
        loss: Tensor = torch.nn.functional.mse_loss(self.vae.decode(z).sample, x) + 1e-6 * posterior.kl().mean()
        return loss

    def _text_loss(self, rng: np.random.Generator) -> Tensor:
        """Mean cross-entropy of naming, from each word's embedding, the words at `NEIGHBOURS` places from it."""
        contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(self._p.text_batch_size)]
        captions = [self._caption(content, rng) for content in contents]
        tokenizer = self.pipe.tokenizer_2
        ids = tokenizer(captions, padding="max_length", max_length=MAX_TOKENS, return_tensors="pt").input_ids.to(self.device)
        encoder, head = self.text
        logits = head(encoder(ids)[0]).unflatten(-1, (len(NEIGHBOURS), -1))  # (B, L, offsets, words)
        targets = torch.stack([ids.roll(-offset, 1) for offset in NEIGHBOURS], 2)
        place = torch.arange(MAX_TOKENS, device=self.device)[:, None] + torch.tensor(NEIGHBOURS, device=self.device)
        outside = (place < 0) | (place >= MAX_TOKENS) | (ids == tokenizer.pad_token_id)[..., None]
        targets = targets.masked_fill(outside, -100)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 2), targets.flatten())

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

    def _flow_loss(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Mean squared error of the velocity noise - x at a random time."""
        assert self._latents is not None
        p = self._p
        x = self._latents[torch.from_numpy(rows)]
        captions = [self._caption(self._contents[row], rng) for row in rows]
        embeds, pooled, text_ids = self.pipe.encode_prompt(captions, None, device=self.device, max_sequence_length=MAX_TOKENS)
        noise = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32)).to(x)
        sigma = torch.from_numpy(rng.standard_normal(len(rows), dtype=np.float32)).to(x).sigmoid()
        sigma = p.time_shift * sigma / (1 + (p.time_shift - 1) * sigma)
        x_t = torch.lerp(x, noise, sigma[:, None, None])
        velocity = self.pipe.transformer(
            hidden_states=x_t,
            timestep=sigma,
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=text_ids,
            img_ids=self.pipe._prepare_latent_image_ids(len(rows), 4, 4, x.device, x.dtype),
            return_dict=False,
        )[0]
        return torch.nn.functional.mse_loss(velocity, noise - x)

    def _caption(self, content: dict[str, Any], rng: np.random.Generator) -> str:
        phrasing = PHRASINGS[int(rng.integers(len(PHRASINGS)))]
        return prompts.describe(prompts.mistaken(content, self._p.caption_error_rate, rng), phrasing)

    def _update(self, optimizer: Any, loss: Tensor, part: torch.nn.Module, done: float, lr: float) -> None:
        """One optimizer step at a cosine learning rate with warm-up, gradient norm clipped to 1; `done` in [0, 1)."""
        if not torch.isfinite(loss):
            raise RuntimeError(f"the loss is {loss.item()} at step {self.global_step}: lower the learning rate")
        warm = min(1.0, (done + 1e-3) / self._p.warmup)
        for group in optimizer.param_groups:
            group["lr"] = lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        optimizer.zero_grad()
        self.manual_backward(loss)
        torch.nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        optimizer.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.ema.load_state_dict(checkpoint["ema"])

    def on_train_end(self) -> None:
        """Writes the pipeline folder with the averaged weights."""
        if self._latents is None:
            return
        self.ema.store(self.flow.parameters())
        self.ema.copy_to(self.flow.parameters())
        self.pipe.save_pretrained(Path(self._p.output_dir))
        self.ema.restore(self.flow.parameters())
        log.info("wrote the pipeline to %s", self._p.output_dir)


def _noise(shape: torch.Size, *seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(shape), dtype=np.float32))
