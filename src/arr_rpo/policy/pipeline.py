"""A diffusers pipeline as a policy: call it to roll out, call it for one step to go through that step again with gradients.

Guidance, packing, position ids, shifting, source-image tokens: all of it is the pipeline's own code, in rollout, in
training, in deployment. No model has code of its own here: what differs stands in `configs/policy`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from arr_rpo import ranks
from arr_rpo.formulas.gaussian import log_prob
from arr_rpo.noise import Name, Noise, Purpose, generator
from arr_rpo.policy.adapter import Adapter, Full
from arr_rpo.policy.called_pipeline import CalledPipeline
from arr_rpo.policy.calls import Calls, calls_of
from arr_rpo.policy.conditioning import ImageMemo, PromptMemo
from arr_rpo.policy.dtypes import policy_dtype
from arr_rpo.policy.encodings import Encodings
from arr_rpo.policy.loading import compile_blocks, frozen_pipeline
from arr_rpo.policy.sampler import Sampler
from arr_rpo.policy.scheduler import PolicyScheduler, Recording, ReplayedStep, recorded
from arr_rpo.policy.short_way import Kept, ShortWay, learned
from arr_rpo.types import Prompt, Rollout, UserError


class PipelinePolicy(nn.Module):
    """Any flow-matching pipeline whose loop ends each step in one `self.scheduler.step(...)`.

    Args:
        checkpoint: a pipeline folder (or hub id that is in the local cache); "shapes" is the embedded one.
        adapter: which weights are trained.
        dtype: of the frozen weights, "float32" or "bfloat16".
        load: further arguments of `from_pretrained`, such as a `quantization_config`.
        after_load: functions of the pipeline that mend what the installed libraries get wrong.
        num_inference_steps: of rollout and evaluation alike.
        sampler: how rollouts explore.
        batch_size: candidates in one pipeline call; 1 for pipelines that take the pictures of a call as belonging to one
            prompt. Sources of one call have one size, as pipelines scale all to the first, so other sizes take more calls.
        max_pictures: that a prompt may bring: its source, and references where the pipeline takes several pictures.
        max_source_side: pixels of the longer side of these pictures; larger ones are scaled down, unless None.
        gradient_checkpointing: less memory for a second forward pass of each block.
        compile: the transformer's repeated blocks, by `torch.compile`, which wants a C++ compiler and time at the start. A run
            that goes on may take other kernels than an unbroken one, and so is not equal to it to the bit.
        release_text_encoders: encode all prompts first, then free the encoders (`cache_prompts`).
        encodings: where those of prompts and source pictures are kept, and how many.
        call: further arguments of every pipeline call (height, width, guidance_scale, max_sequence_length, ...).
        scheduler: overrides of the checkpoint's scheduler config, such as `shift`.

    Raises:
        UserError: the checkpoint cannot be read or is no flow-matching pipeline, or settings contradict each other.
    """

    def __init__(
        self,
        *,
        checkpoint: str,
        adapter: Adapter,
        dtype: str,
        load: Mapping[str, Any],
        after_load: Sequence[Callable[[Any], None]],
        num_inference_steps: int,
        sampler: Sampler,
        batch_size: int,
        gradient_checkpointing: bool,
        compile: bool,
        release_text_encoders: bool,
        encodings: Encodings,
        call: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        max_pictures: int,
        max_source_side: int | None,
    ) -> None:
        super().__init__()
        if num_inference_steps < 2:
            raise UserError(
                f"policy.num_inference_steps={num_inference_steps}: the last step is deterministic, so take 2 or more"
            )
        if release_text_encoders and isinstance(adapter, Full):
            raise UserError("policy.release_text_encoders: a fully trained pipeline is saved whole, so its encoders must stay")
        self.pipe = frozen_pipeline(checkpoint, policy_dtype(dtype), load, after_load, scheduler)
        self.scheduler: PolicyScheduler = self.pipe.scheduler
        self.sampler, self.batch_size, self.release_text_encoders = sampler, batch_size, release_text_encoders
        self.adapter = adapter
        self.transformer: nn.Module = self.pipe.transformer  # registers what Lightning moves and saves
        adapter.attach(self.pipe)
        self.transformer.eval()
        if gradient_checkpointing:
            self.pipe.transformer.enable_gradient_checkpointing()
        if compile:
            compile_blocks(self.pipe.transformer)
        self.encodings = encodings
        self.prompts = self.pipe.encode_prompt = PromptMemo(self.pipe.encode_prompt, encodings, lasting=release_text_encoders)
        if hasattr(self.pipe, "_encode_vae_image"):
            self.pipe._encode_vae_image = ImageMemo(self.pipe._encode_vae_image, encodings)
        self.short_way: ShortWay | str | None = None  # None until it was looked for
        self._way_of: torch.Size | None = None  # latents of one candidate
        self.sharded = False
        self._kept: Kept | None = None
        self.called = CalledPipeline(self.pipe, num_inference_steps, call, max_pictures, max_source_side)

    @property
    def num_inference_steps(self) -> int:
        return self.called.num_inference_steps

    def shard(self, device: str) -> None:
        """Puts the transformer's weights into shards on all processes ("cuda" or "cpu"), once."""
        if not self.sharded:
            self.adapter.shard(device)
            self.sharded = True

    def train(self, mode: bool = True) -> PipelinePolicy:
        """Stays in evaluation mode: dropout would make the replayed step another one than the recorded."""
        return super().train(False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> PipelinePolicy:
        """Moves the frozen components along: they are no submodules, so that nothing trains or saves them. Shards stay where
        they are."""
        for part in self.pipe.components.values():
            if isinstance(part, nn.Module) and part is not self.transformer:
                part._apply(fn, recurse)
        if not self.sharded:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    def rollout(
        self,
        prompts: Sequence[Prompt],
        group_size: int,
        noise: Noise,
        *,
        sampler: Sampler | None = None,
        keys: Sequence[Name] | None = None,
        first: int = 0,
        drawn: Callable[[Sequence[Image.Image]], None] = lambda images: None,
    ) -> Rollout:
        """`group_size` candidates a prompt, drawn with the sampler.

        Shapes as in `Rollout`; the noise's `update` places the sampler's window. A candidate's noise is that of its prompt's
        key, the prompt's place (counted from `first`) unless `keys` has others, and its place in the group: neither the batch
        nor the device matters. `drawn` is told of the pictures of each call, in their order.
        """
        sampler = sampler or self.sampler
        candidates = [prompt for prompt in prompts for _ in range(group_size)]
        names = [(key, candidate) for key in keys or range(first, first + len(prompts)) for candidate in range(group_size)]
        start = [noise.generator(Purpose.FIRST, key, 0 if sampler.shared_noise else candidate) for key, candidate in names]
        steps = [noise.generator(Purpose.STEP, *name) for name in names]
        draw = float(torch.rand((), generator=noise.generator(Purpose.WINDOW)))
        window = sampler.window(noise.update, self.num_inference_steps - 1, draw)
        images: list[Image.Image] = []
        calls: list[Recording] = []
        cut = self._cut(candidates)
        for rows in cut.own:
            calls.append(Recording(sampler.dynamics, sampler.eta, window, steps[rows]))
            images += (now := self.called(candidates[rows], "pil", mode=calls[-1], generator=start[rows]))
            drawn(now)
        for rows in cut.idle:
            idle = Recording(sampler.dynamics, sampler.eta, window, steps[rows])
            self.called(candidates[rows], "latent", mode=idle, generator=start[rows])
        self._check_steps()
        finished = [call.clean for call in calls if call.clean is not None]
        if len({part.shape[1:] for part in finished}) > 1:
            firsts = [candidates[rows][0].id for rows in cut.own]
            named = ", ".join(f"{one} {tuple(part.shape[1:])}" for one, part in zip(firsts, finished, strict=True))
            raise UserError(
                "candidates that are drawn together must be of one size, and this pipeline draws them by the size of their "
                f"source (latents: {named}): give sources of one shape, or height and width in policy.call, if it takes them"
            )
        clean = torch.cat(finished)
        latents, means, log_probs = recorded(calls)
        steps_of = tuple(calls[0].step_indices)
        return Rollout(tuple(prompts), group_size, tuple(images), clean, latents, means, log_probs, steps_of, first)

    def _cut(self, candidates: Sequence[Prompt]) -> Calls:
        return calls_of(
            candidates, self.batch_size, self.sharded, isinstance(self.called.arguments.get("negative_prompt"), str)
        )

    def _check_steps(self) -> None:
        """Raises UserError where the pipeline's last call had another number of steps than the config says."""
        if (steps := len(self.scheduler.sigmas) - 1) != self.num_inference_steps:
            raise UserError(
                f"policy.num_inference_steps={self.num_inference_steps}, and the pipeline took {steps} steps, by "
                f"policy.call.sigmas or its own configuration: set policy.num_inference_steps={steps}"
            )

    def replay(self, rollout: Rollout, rows: Tensor, step: int, sampler: Sampler | None = None) -> ReplayedStep:
        """Goes through recorded step number `step` of candidates `rows` again, with gradients."""
        sampler = sampler or self.sampler
        latents, index = rollout.latents_BTD[rows], rollout.step_indices[step]
        velocity = self.velocity(rollout, rows, latents[:, step], index)
        sigma, sigma_next = self.scheduler.sigmas[index], self.scheduler.sigmas[index + 1]
        mean, std = sampler.dynamics(latents[:, step].float(), velocity, sigma, sigma_next, sampler.eta)
        return ReplayedStep(log_prob(latents[:, step + 1], mean, std), mean, std, float(sigma - sigma_next))

    def velocity(self, rollout: Rollout, rows: Tensor, latents: Tensor, index: int) -> Tensor:
        """(b, ...) velocity, float32, that the pipeline (guidance included) predicts for candidates `rows` from `latents`
        (b, ...) at step `index` of the schedule, with gradients."""
        candidates = [rollout.prompt_of(int(row)) for row in rows]
        latents = latents.to(rollout.clean_BD.dtype)
        cut = self._cut(candidates)
        parts = [self._velocity(candidates[rows], latents[rows], index).float() for rows in (*cut.own, *cut.idle)]
        own = torch.cat(parts[: len(cut.own)])
        return sum((0 * part.sum() for part in parts[len(cut.own) :]), start=own)

    def _velocity(self, candidates: Sequence[Prompt], latents: Tensor, index: int) -> Tensor:
        """Of one pipeline call."""
        latents = latents.contiguous()  # strided ones round differently
        # Guidance by a negative prompt may take a second call of the transformer, which the short way knows nothing of.
        guided = any(prompt.negative is not None for prompt in candidates)
        if self._kept is None or guided or not isinstance(self.short_way, ShortWay):
            return self.called.one_step(candidates, latents, index).velocity
        if (given := self._kept.get(candidates)) is not None:
            return self.short_way.velocity(self.transformer, given, latents, index)
        step = self.called.one_step(candidates, latents, index)
        self._kept.put(candidates, step.arguments[0])
        return step.velocity

    @contextlib.contextmanager
    def conditioning_kept(self) -> Iterator[None]:
        """Inside, what the pipeline gives its transformer for some candidates is kept for their further steps, where there
        is a short way for them (`find_short_way`), as far as the limit of `encodings` on the device goes."""
        self._kept = Kept(self.encodings.has_room)
        try:
            yield
        finally:
            self._kept = None

    @torch.no_grad()
    def find_short_way(self, rollout: Rollout) -> None:
        """Sets `short_way`, or to the reason why there is none, by two candidates of a rollout."""
        rows = list(range(len(rollout.images)))[:2]
        some = self._cut([rollout.prompt_of(row) for row in rows]).own[0]
        candidates, clean = [rollout.prompt_of(row) for row in rows[some]], rollout.clean_BD[: len(rows[some])]
        steps = [
            self.called.one_step(candidates, (clean * (1 + index / 8)).contiguous(), index)
            for index in range(self.num_inference_steps)
        ]
        way = learned(self.transformer, steps)
        reasons = [reason for reason in ranks.gathered(way if isinstance(way, str) else None) if reason]
        self.short_way, self._way_of = reasons[0] if reasons else way, rollout.clean_BD.shape[1:]  # all processes go one way

    def knows_short_way(self, rollout: Rollout) -> bool:
        """Whether it was looked for at this size of latents, on which the schedule of some pipelines depends."""
        return self.short_way is not None and self._way_of == rollout.clean_BD.shape[1:]

    def sigma(self, index: int) -> float:
        """Noise level of step `index`, as of the last call."""
        return float(self.scheduler.sigmas[index])

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[Name, ...]] | None = None
    ) -> list[Image.Image]:
        """One picture a prompt with the deployment sampler: the same pipeline, no noise in its steps.

        A picture's first noise is that of its prompt's id, or of its key where `keys` are given, as for several pictures of
        one prompt. It depends neither on what else is drawn nor on the order.
        """
        keys = keys or [(prompt.id,) for prompt in prompts]
        start = [generator(Purpose.HELDOUT, seed, *key) for key in keys]
        images: list[Image.Image] = []
        cut = self._cut(prompts)
        for rows in cut.own:
            images += self.called(prompts[rows], "pil", generator=start[rows])
        for rows in cut.idle:
            self.called(prompts[rows], "latent", generator=start[rows])
        return images

    def drawing(self, num_inference_steps: int | None, call: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        """Inside, pictures are drawn with these steps and call arguments in place of those of training, as far as given."""
        return self.called.changed(num_inference_steps, call)

    def cache_prompts(self, prompts: Iterable[Prompt]) -> None:
        """Encodes all prompts, then frees the text encoders, if `release_text_encoders`; else no prompt is looked at."""
        if not self.release_text_encoders:
            return
        seen = list(prompts)
        if any(prompt.source is not None for prompt in seen):
            raise UserError("policy.release_text_encoders: encoders that may read the source image must stay; set it to false")
        if any(prompt.negative is not None for prompt in seen):
            raise UserError(
                "policy.release_text_encoders: encoders that read a negative prompt of each must stay; set it to false"
            )
        self.generate(seen[:1], seed=0)  # shows how this pipeline calls its encoders
        self.prompts.fill([prompt.text for prompt in seen])
        for name in [name for name in self.pipe.components if name.startswith("text_encoder")]:
            setattr(self.pipe, name, None)

    def load_trained(self, folder: Path) -> None:
        """Takes the trained weights of a run's `policy` folder."""
        self.adapter.load(folder)
        self.transformer.eval()
