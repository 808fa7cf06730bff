"""One call of a pipeline for some candidates: to its end, or for a single step of its schedule from latents of ours."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from arr_rpo.policy.calls import pictures_of
from arr_rpo.policy.negatives import negative_prompts
from arr_rpo.policy.scheduler import Probe, Recording
from arr_rpo.policy.short_way import WholeStep
from arr_rpo.policy.starting_latents import StartingLatents
from arr_rpo.types import Prompt


class CalledPipeline:
    """A pipeline (with a `PolicyScheduler`) and what each call of it is given beside the candidates.

    The arguments are those of `PipelinePolicy`, which see.
    """

    def __init__(
        self,
        pipe: Any,
        num_inference_steps: int,
        call: Mapping[str, Any],
        max_pictures: int,
        max_source_side: int | None,
    ) -> None:
        self._pipe, self.num_inference_steps, self.arguments = pipe, num_inference_steps, dict(call)
        self.max_pictures, self.max_source_side = max_pictures, max_source_side
        self._start = StartingLatents(getattr(pipe, "prepare_latents", None))
        if hasattr(pipe, "prepare_latents"):
            pipe.prepare_latents = self._start

    def __call__(
        self,
        candidates: Sequence[Prompt],
        output_type: str,
        mode: Recording | Probe | None = None,
        call: Callable[..., Any] | None = None,
        **more: Any,
    ) -> Any:
        """What the pipeline makes of the candidates, with its scheduler in `mode`.

        call: in place of the pipeline's own, which knows no gradients. more: arguments of this call alone.
        """
        arguments = dict(self.arguments)
        arguments |= negative_prompts(self._pipe, candidates, arguments)
        if pictures := [p for prompt in candidates for p in pictures_of(prompt, self.max_pictures, self.max_source_side)]:
            arguments["image"] = pictures if len(pictures) > 1 else pictures[0]
        self._pipe.scheduler.mode = mode
        try:
            return (call or self._pipe)(
                prompt=[prompt.text for prompt in candidates],
                num_inference_steps=self.num_inference_steps,
                output_type=output_type,
                return_dict=False,
                **arguments,
                **more,
            )[0]
        finally:
            self._pipe.scheduler.mode = None

    def one_step(self, candidates: Sequence[Prompt], latents: Tensor, index: int) -> WholeStep:
        """Step `index` of the schedule from these latents, with gradients, and how the transformer was called in it."""
        call = functools.partial(type(self._pipe).__call__.__wrapped__, self._pipe)  # type: ignore[attr-defined]
        probe, calls = Probe(index), list[Mapping[str, Any]]()
        hook = self._pipe.transformer.register_forward_pre_hook(lambda _, args, given: calls.append(given), with_kwargs=True)
        try:
            with self._start.set_to(latents):
                self(candidates, "latent", mode=probe, call=call, **self._start.argument())
        finally:
            hook.remove()
        assert probe.velocity is not None
        return WholeStep(latents, probe.velocity, tuple(calls))

    @contextlib.contextmanager
    def changed(self, num_inference_steps: int | None, call: Mapping[str, Any]) -> Iterator[None]:
        """Inside, calls have these steps and arguments in place of their own, as far as given."""
        steps, arguments = self.num_inference_steps, self.arguments
        self.num_inference_steps, self.arguments = num_inference_steps or steps, {**arguments, **call}
        try:
            yield
        finally:
            self.num_inference_steps, self.arguments = steps, arguments
