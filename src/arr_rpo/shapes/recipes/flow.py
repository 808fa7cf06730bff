"""What the recipes of the embedded policies share: T5 on text, flow matching on latents, averaged weights, resumption."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.utils.data import Dataset

from arr_rpo.shapes.recipes.policy_parts import MAX_TOKENS, TEXT_WIDTH
from arr_rpo.shapes.world.vocabulary import IMAGE_SIZE

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


class FlowRecipe(pl.LightningModule):
    """Trains a pipeline of Flux's family in phases, each with its own optimizer.

    T5: Flux gives text tokens no position, so which colour belongs to which shape must be in T5's embeddings; flow matching
    alone does not teach it that. So T5 is pretrained on text, as the real one is, here to name each word's neighbours, and
    then frozen.
    Flow matching (arXiv 2210.02747) with logit-normal times shifted by `time_shift` towards noise (arXiv 2403.03206, eq. 23):
    a small latent shows its content early, so all that a text can decide is decided at high noise. CLIP is trained along;
    the weights that are kept are the exponential moving average.

    A recipe calls `own` once its arguments are saved as hyperparameters, of which `text_lr`, `flow_lr`, `time_shift`,
    `ema_decay`, `warmup` and `output_dir` are read here.
    """

    def own(self, pipe: Any) -> None:
        """Takes the pipeline whose parts are trained."""
        self.automatic_optimization = False
        self.pipe = pipe
        self.text = torch.nn.ModuleList(
            [pipe.text_encoder_2, torch.nn.Linear(TEXT_WIDTH, len(NEIGHBOURS) * len(pipe.tokenizer_2))]
        )
        self.flow = torch.nn.ModuleList([pipe.transformer, pipe.text_encoder])
        self.ema = EMAModel(self.flow.parameters(), decay=self._p.ema_decay)
        self._flowing = False

    @property
    def _p(self) -> Any:
        """The constructor's arguments."""
        return self.hparams

    def text_loss(self, texts: Sequence[str]) -> Tensor:
        """Mean cross-entropy of naming, from each word's embedding, the words at `NEIGHBOURS` places from it."""
        tokenizer = self.pipe.tokenizer_2
        ids = tokenizer(list(texts), padding="max_length", max_length=MAX_TOKENS, return_tensors="pt").input_ids.to(self.device)
        encoder, head = self.text
        logits = head(encoder(ids)[0]).unflatten(-1, (len(NEIGHBOURS), -1))  # (B, L, offsets, words)
        targets = torch.stack([ids.roll(-offset, 1) for offset in NEIGHBOURS], 2)
        place = torch.arange(MAX_TOKENS, device=self.device)[:, None] + torch.tensor(NEIGHBOURS, device=self.device)
        outside = (place < 0) | (place >= MAX_TOKENS) | (ids == tokenizer.pad_token_id)[..., None]
        targets = targets.masked_fill(outside, -100)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 2), targets.flatten())

    def start_flow(self) -> None:
        """From here on T5 stays as it is, and the weights are averaged."""
        self._flowing = True
        self.pipe.text_encoder_2.requires_grad_(False)

    def flow_loss(self, x: Tensor, texts: Sequence[str], rng: np.random.Generator, sources: Tensor | None = None) -> Tensor:
        """Mean squared error of the velocity noise - x at a random time; shapes as in `predicted_velocity`."""
        noise = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32)).to(x)
        sigma = torch.from_numpy(rng.standard_normal(len(x), dtype=np.float32)).to(x).sigmoid()
        sigma = self._p.time_shift * sigma / (1 + (self._p.time_shift - 1) * sigma)
        velocity = predicted_velocity(self.pipe, torch.lerp(x, noise, sigma[:, None, None]), sigma, texts, sources)
        return torch.nn.functional.mse_loss(velocity, noise - x)

    def update(self, optimizer: Any, loss: Tensor, part: torch.nn.Module, done: float, lr: float) -> None:
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
        if part is self.flow:
            self.ema.step(self.flow.parameters())

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Of text, and of flow matching."""
        rates = ((self.text, self._p.text_lr), (self.flow, self._p.flow_lr))
        return [torch.optim.AdamW(part.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.01) for part, lr in rates]

    def report(self, name: str, loss: Tensor) -> None:
        """To the bar and to the loggers; `self.log` alone would go on drawing a phase's last value after its end."""
        self.log(name, loss.detach(), prog_bar=True, logger=False)
        for logger in self.loggers:
            logger.log_metrics({name: loss.item()}, step=self.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.ema.load_state_dict(checkpoint["ema"])

    def on_train_end(self) -> None:
        """Writes the pipeline folder with the averaged weights."""
        if not self._flowing:
            return
        self.ema.store(self.flow.parameters())
        self.ema.copy_to(self.flow.parameters())
        self.pipe.save_pretrained(Path(self._p.output_dir))
        self.ema.restore(self.flow.parameters())
        log.info("wrote the pipeline to %s", self._p.output_dir)


def predicted_velocity(pipe: Any, x_t: Tensor, sigma: Tensor, texts: Sequence[str], sources: Tensor | None) -> Tensor:
    """(B, 16, 32) what the transformer predicts as the pipeline would call it, with gradients.

    x_t: (B, 16, 32) packed latents at noise levels `sigma` (B,); sources: (B, 8, 8, 8) latents of the pictures to edit, which
    a `FluxKontextPipeline` puts behind x_t, at the same places of a second plane of positions.
    """
    embeds, pooled, text_ids = pipe.encode_prompt(list(texts), None, device=x_t.device, max_sequence_length=MAX_TOKENS)
    channels, like = pipe.transformer.config.in_channels // 4, {"dtype": x_t.dtype, "device": x_t.device}
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    given = {} if sources is None else {"image": sources}
    prepared = pipe.prepare_latents(
        batch_size=len(x_t), num_channels_latents=channels, latents=x_t, generator=None, **given, **size, **like
    )
    if sources is None:
        hidden, ids = prepared
    else:
        hidden, ids = torch.cat(prepared[:2], 1), torch.cat(prepared[2:], 0)
    velocity: Tensor = pipe.transformer(
        hidden_states=hidden,
        timestep=sigma,
        pooled_projections=pooled,
        encoder_hidden_states=embeds,
        txt_ids=text_ids,
        img_ids=ids,
        return_dict=False,
    )[0]
    return velocity[:, : x_t.shape[1]]


def bytes_of(pictures: Sequence[Any]) -> Tensor:
    """(N, 3, 32, 32) bytes of PIL pictures."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).contiguous()
