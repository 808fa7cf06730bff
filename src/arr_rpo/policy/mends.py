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


def chroma_checkpointed_masks(pipe: Any) -> None:
    """Chroma's single blocks lose their attention mask where gradients are checkpointed (diffusers 0.42), so that a step is
    replayed as another one than was recorded, by 9e-3 nats a dimension on the tiny twin with a random LoRA. The mask is handed
    on as an argument: what is computed again in the backward pass then has that of its own call, and not of a later one."""
    transformer = pipe.transformer
    enable, single = transformer.enable_gradient_checkpointing, set(transformer.single_transformer_blocks)
    mask: list[Any] = [None]

    def remember(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask[0] = kwargs.get("attention_mask")

    def enable_with_masks(*args: Any, **kwargs: Any) -> None:
        enable(*args, **kwargs)
        checkpointed = transformer._gradient_checkpointing_func

        def with_mask(block: nn.Module, *inputs: Any) -> Any:
            return checkpointed(block, *inputs, *([mask[0]] if block in single and len(inputs) == 3 else []))

        transformer._gradient_checkpointing_func = with_mask

    transformer.register_forward_pre_hook(remember, with_kwargs=True)
    transformer.enable_gradient_checkpointing = enable_with_masks
