"""A diffusers pipeline as a policy: call it to roll out, call it for one step to replay with gradients.

Guidance, packing, position ids, shifting: all of it is the pipeline's own code, in rollout, in training, in deployment.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from arr_rpo.policy.adapter import Adapter
from arr_rpo.policy.scheduler import FlowSDEScheduler, Recording, Replay
from arr_rpo.types import Prompt, Rollout, UserError

SHAPES_POLICY = Path(__file__).parents[1] / "shapes" / "weights" / "policy"


class PipelinePolicy(nn.Module):
    """Any flow-matching text-to-image pipeline whose loop ends in `self.scheduler.step(...)`.

    Args:
        checkpoint: a pipeline folder (or hub id that is in the local cache); "shapes" is the embedded one.
        adapter: which weights are trained.
        dtype: of the frozen weights, "float32" or "bfloat16".
        num_inference_steps: of rollout and evaluation alike.
        eta: noise level of the stochastic steps in rollouts.
        shared_noise: whether the candidates of a group start from the same noise.
        call: further arguments of every pipeline call (height, width, guidance_scale, max_sequence_length, ...).
        scheduler: overrides of the checkpoint's scheduler config, such as `shift`.
    """

    def __init__(
        self,
        *,
        checkpoint: str,
        adapter: Adapter,
        dtype: str,
        num_inference_steps: int,
        eta: float,
        shared_noise: bool,
        call: Mapping[str, Any],
        scheduler: Mapping[str, Any],
    ) -> None:
        super().__init__()
        if num_inference_steps < 2:
            raise UserError(
                f"policy.num_inference_steps={num_inference_steps}: the last step is deterministic, so take 2 or more"
            )
        self.pipe = load_pipeline(checkpoint, getattr(torch, dtype))
        self.num_inference_steps, self.eta, self.shared_noise = num_inference_steps, eta, shared_noise
        self._call_arguments = dict(call)
        self.scheduler = FlowSDEScheduler.from_config(self.pipe.scheduler.config, **scheduler)
        self.pipe.scheduler = self.scheduler
        self.pipe.set_progress_bar_config(disable=True)
        self.adapter = adapter
        for part in self.pipe.components.values():
            if isinstance(part, nn.Module):
                part.requires_grad_(False).eval()
        self.transformer: nn.Module = self.pipe.transformer  # registers what Lightning moves and saves
        adapter.attach(self.pipe)
        self.transformer.eval()
        self.pipe.encode_prompt = Memo(self.pipe.encode_prompt)

    def train(self, mode: bool = True) -> PipelinePolicy:
        """Stays in evaluation mode: dropout would make the replayed step another one than the recorded."""
        return super().train(False)

    @torch.no_grad()
    def rollout(self, prompts: Sequence[Prompt], group_size: int, seed: Sequence[int]) -> Rollout:
        """`group_size` stochastic candidates a prompt. Noise comes from generators seeded by `seed`, whatever the device."""
        recording, scheduler = Recording(), self.scheduler
        texts = [prompt.text for prompt in prompts for _ in range(group_size)]
        scheduler.eta, scheduler.recording = self.eta, recording
        scheduler.generator = generator(*seed, 1)
        try:
            images = self._call(texts, self.noise(len(prompts), group_size, seed), output_type="pil")
        finally:
            scheduler.eta, scheduler.recording, scheduler.generator = 0.0, None, None
        if not recording.log_probs:
            raise UserError(
                f"policy.eta={self.eta}: no step of the rollout is stochastic, so there is nothing to learn from; raise it"
            )
        return Rollout(
            prompts=tuple(prompts),
            group_size=group_size,
            images=tuple(images),
            latents_BTD=torch.stack(recording.latents, 1),
            log_probs_BT=torch.stack(recording.log_probs, 1),
            step_indices=tuple(recording.step_indices),
        )

    def replay(self, rollout: Rollout, rows: Tensor, step: int) -> tuple[Tensor, Tensor, float]:
        """Goes through recorded step number `step` again with gradients.

        Returns:
            (b,) log-probabilities of the recorded x_{t-1} under current weights, the step's means (b, ...) and its std.
        """
        texts, scheduler = rollout.texts, self.scheduler
        latents = rollout.latents_BTD[rows]
        scheduler.eta = self.eta
        scheduler.replay = Replay(rollout.step_indices[step], latents[:, step + 1])
        try:
            call = functools.partial(type(self.pipe).__call__.__wrapped__, self.pipe)  # type: ignore[attr-defined]
            self._call([texts[int(row)] for row in rows], latents[:, step], output_type="latent", call=call)
        finally:
            scheduler.eta, scheduler.replay = 0.0, None
        return scheduler.step_log_prob, scheduler.mean, scheduler.std

    @torch.no_grad()
    def generate(self, texts: Sequence[str], seed: Sequence[int]) -> list[Image.Image]:
        """One picture a text with the deployment sampler: the same pipeline, no noise in its steps."""
        return list(self._call(list(texts), self.noise(len(texts), 1, seed), output_type="pil"))

    def load_trained(self, folder: Path) -> None:
        """Takes the trained weights of a run's `policy` folder."""
        self.adapter.load(folder)
        self.transformer.eval()

    def noise(self, prompts: int, group_size: int, seed: Sequence[int]) -> list[torch.Generator]:
        """One generator a candidate for the pipeline's initial noise; the same one within a group with `shared_noise`."""
        return [
            generator(*seed, 0, prompt, 0 if self.shared_noise else candidate)
            for prompt in range(prompts)
            for candidate in range(group_size)
        ]

    def _call(
        self,
        texts: list[str],
        start: Tensor | list[torch.Generator],
        output_type: str,
        call: Callable[..., Any] | None = None,
    ) -> Any:
        source = {"latents": start} if isinstance(start, Tensor) else {"generator": start}
        return (call or self.pipe)(
            prompt=texts,
            num_inference_steps=self.num_inference_steps,
            output_type=output_type,
            return_dict=False,
            **source,
            **self._call_arguments,
        )[0]


class Memo:
    """`encode_prompt`, computed once for each prompt. Prompts of a batch are looked up one by one and joined again."""

    def __init__(self, encode: Callable[..., Any]) -> None:
        self._encode = encode
        self._known: dict[Any, tuple[Any, ...]] = {}

    @torch.no_grad()
    def __call__(self, prompt: str | list[str] | None = None, **kwargs: Any) -> tuple[Any, ...]:
        if prompt is None or any(isinstance(v, Tensor) for v in kwargs.values()):
            return tuple(self._encode(prompt=prompt, **kwargs))
        texts = [prompt] if isinstance(prompt, str) else prompt
        rest = tuple(sorted((key, str(value)) for key, value in kwargs.items()))
        for text in dict.fromkeys(texts):
            if (text, rest) not in self._known:
                self._known[text, rest] = tuple(self._encode(prompt=[text], **kwargs))
        rows = [self._known[text, rest] for text in texts]
        return tuple(self._join([row[i] for row in rows]) for i in range(len(rows[0])))

    @staticmethod
    def _join(parts: list[Any]) -> Any:
        """Batched outputs have a first dimension of 1 for a single prompt; others (position ids) are the same for all."""
        if isinstance(parts[0], Tensor) and parts[0].shape[0] == 1:
            return torch.cat(parts)
        return parts[0]


def load_pipeline(checkpoint: str, dtype: torch.dtype) -> Any:
    """The pipeline of a folder or of the local hub cache, with a clear error where there is none."""
    source = str(SHAPES_POLICY) if checkpoint == "shapes" else checkpoint
    try:
        return DiffusionPipeline.from_pretrained(source, torch_dtype=dtype, local_files_only=True)
    except Exception as error:
        raise UserError(
            f"policy.checkpoint={checkpoint!r}: no readable diffusers pipeline in {source} ({type(error).__name__}: {error}). "
            "Give a pipeline folder, download the checkpoint into the local cache first (`hf download ...`), "
            "or restore the embedded weights with `git checkout -- src/arr_rpo/shapes/weights`."
        ) from error


def generator(*seed: int) -> torch.Generator:
    """A CPU generator seeded by a tuple of numbers."""
    mixed = 0
    for number in seed:
        mixed = (mixed * 1_000_003 + number + 1) % (2**63 - 25)
    return torch.Generator().manual_seed(mixed)
