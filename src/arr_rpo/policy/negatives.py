"""Negative prompts: what each picture should be kept from, by its own prompt or else by the policy's `call.negative_prompt`."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from arr_rpo.types import Prompt, UserError

log = logging.getLogger(__name__)
COUNTED_FROM_0 = ("ZImagePipeline", "Krea2Pipeline")  # guidance is on above 0 there


def negative_prompts(pipe: Any, prompts: Sequence[Prompt], call: Mapping[str, Any]) -> dict[str, list[str]]:
    """The argument of a pipeline call for some prompts: one text for each, as some pipelines do not repeat one for a batch.

    call: the other arguments of the call.

    Raises:
        UserError: a prompt has one, and the pipeline takes none.
    """
    own = [prompt.negative for prompt in prompts]
    common = call.get("negative_prompt")
    if all(text is None for text in own):
        return {"negative_prompt": [common] * len(prompts)} if isinstance(common, str) else {}
    known = inspect.signature(pipe.__call__).parameters
    if "negative_prompt" not in known:
        raise UserError(
            f"prompt {prompts[0].id!r} has a negative prompt, and {type(pipe).__name__} takes none: "
            "data.columns={negative: null} reads it as metadata"
        )
    scale = next((name for name in ("true_cfg_scale", "guidance_scale") if name in known), None)
    off = 0 if type(pipe).__name__ in COUNTED_FROM_0 else 1
    if scale is not None and isinstance(given := call.get(scale, known[scale].default), int | float) and given <= off:
        _say_idle(type(pipe).__name__, scale, given, off)
    return {"negative_prompt": [(common or "") if text is None else text for text in own]}


@functools.cache
def _say_idle(pipeline: str, scale: str, given: float, off: int) -> None:
    """Once a process."""
    log.warning(
        "negative prompts change nothing: policy.call.%s of %s is %s, and guidance begins above %s", scale, pipeline, given, off
    )
