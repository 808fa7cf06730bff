"""A LoRA that somebody trained, as the start of one that is trained here."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from arr_rpo.types import UserError

START = "start"  # the adapter that it is loaded into, for a moment


def take_over(pipe: Any, source: str) -> None:
    """Gives the adapter "default" of a pipeline's transformer the change that `source` makes, a folder or a file that the stock
    pipeline loads: diffusers' own, with `.alpha` tensors, or kohya's where diffusers converts them.

    Ranks may differ, up to that of the adapter: what it has beyond starts as nothing. Layers that `source` does not have start
    as the base. The scale of `source` goes into its factors where it is another.

    Raises:
        UserError: it cannot be loaded, or changes what this adapter does not.
    """
    told = f"policy.adapter.start_from={source}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # peft's, that there are two adapters now
            if hasattr(pipe, "load_lora_weights"):
                pipe.load_lora_weights(source, adapter_name=START, local_files_only=True)
            else:
                pipe.transformer.load_lora_adapter(
                    source, adapter_name=START, prefix=None, use_safetensors=True, local_files_only=True
                )
    except Exception as error:  # each converter raises its own
        raise UserError(f"{told}: no LoRA that {type(pipe).__name__} loads ({type(error).__name__}: {error})") from error
    _refuse_text_encoders(pipe, told)
    layers = {name: layer for name, layer in pipe.transformer.named_modules() if START in getattr(layer, "lora_A", {})}
    if not layers:
        raise UserError(f"{told}: it has no layer of the transformer of {type(pipe).__name__}")
    if strange := [name for name, layer in layers.items() if "default" not in layer.lora_A]:
        raise UserError(
            f"{told} changes {strange[0]} and {len(strange) - 1} more layers that this adapter does "
            "not train: add how they end to policy.adapter.target_modules"
        )
    if any(_more_than_two_factors(layer) for layer in layers.values()):
        raise UserError(
            f"{told} has DoRA's magnitudes or biases, and what is trained here are two factors a layer: merge it first"
        )
    rank, ours = max(len(layer.lora_A[START].weight) for layer in layers.values()), _rank(layers)
    if rank > ours:
        raise UserError(f"{told} is of rank {rank}: give policy.adapter.rank={rank}, or more")
    for layer in layers.values():
        _copy(layer)
    pipe.transformer.set_adapters("default")
    pipe.transformer.delete_adapters(START)
    for name, p in pipe.transformer.named_parameters():
        p.requires_grad_("lora_" in name)


def _more_than_two_factors(layer: Any) -> bool:
    dora = getattr(layer, "use_dora", {}).get(START) or START in getattr(layer, "lora_variant", {})
    return bool(dora) or getattr(layer.lora_B[START], "bias", None) is not None


def _rank(layers: dict[str, Any]) -> int:
    return min(len(layer.lora_A["default"].weight) for layer in layers.values())


@torch.no_grad()
def _copy(layer: Any) -> None:
    a, b = (layer.lora_A[START].weight, layer.lora_B[START].weight)
    ours_a, ours_b = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
    ours_a[: len(a)] = a
    ours_b.zero_()
    ours_b[:, : len(a)] = b * (layer.scaling[START] / layer.scaling["default"])


def _refuse_text_encoders(pipe: Any, told: str) -> None:
    for name, part in pipe.components.items():
        if name.startswith("text_encoder") and isinstance(part, nn.Module) and getattr(part, "peft_config", None):
            raise UserError(f"{told} has a LoRA of {name}, too, and only the transformer is trained: take it out")
