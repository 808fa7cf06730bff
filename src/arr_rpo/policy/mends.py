"""Mends of what the installed libraries get wrong for a pipeline, applied after loading (`policy.after_load`)."""

from __future__ import annotations

from typing import Any

from torch import nn


def qwen_vl_token_types(pipe: Any) -> None:
    """Qwen-Image-Edit(-Plus) does not pass `mm_token_type_ids` to its text encoder: transformers 5 then falls back to 1-D
    positions and conditions wrongly, in silence (diffusers issue 14194)."""

    def add(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if kwargs.get("pixel_values") is not None and kwargs.get("mm_token_type_ids") is None:
            image_token: Any = module.config.image_token_id  # type: ignore[union-attr]
            kwargs["mm_token_type_ids"] = (kwargs["input_ids"] == image_token).long()
        return args, kwargs

    pipe.text_encoder.register_forward_pre_hook(add, with_kwargs=True)
