"""A LoRA as its run saved it: two factors a layer and the scale that their product is added with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from arr_rpo.types import UserError

FILE = "pytorch_lora_weights.safetensors"
HEADER = "lora_adapter_metadata"  # diffusers' word for what of peft's configuration it keeps there
PREFIX = "transformer."


@dataclass(frozen=True)
class Factors:
    """A layer's change: scale * up @ down. down: (rank, in). up: (out, rank)."""

    down: Tensor
    up: Tensor
    scale: float

    @property
    def rank(self) -> int:
        return len(self.down)

    def folded(self) -> Factors:
        """The same change with a scale of 1. Exact where the scale is a power of two, as alpha / rank = 2 is."""
        return Factors(self.down, self.up * self.scale, 1.0)


@dataclass(frozen=True)
class LoraFile:
    """layers: by the name of the transformer's layer. peft: the configuration that it was trained with."""

    layers: Mapping[str, Factors]
    peft: Mapping[str, Any]


def read_lora(folder: Path) -> LoraFile:
    """What `policy.adapter.Lora.save` wrote.

    Raises:
        UserError: there is none, or it is no plain LoRA.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder}: no {FILE} there, so no LoRA: where all weights were trained, take format=diffusers")
    with safe_open(path, "pt") as file:
        header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
        tensors = {name.removeprefix(PREFIX): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    peft = {name.removeprefix(PREFIX): value for name, value in header.items()}
    special = [key for key in ("alpha_pattern", "rank_pattern", "use_dora", "use_rslora", "lora_bias") if peft.get(key)]
    if special or not {"r", "lora_alpha"} <= set(peft):
        raise UserError(
            f"{path}: {special[0] if special else 'alpha and rank'} cannot be told to other programs; format=diffusers"
        )
    scale = peft["lora_alpha"] / peft["r"]
    names = [name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight")]
    layers = {name: Factors(tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"], scale) for name in names}
    return LoraFile(layers, peft)


def of_a_pipeline(lora: Path) -> bool:
    """Whether a pipeline saved it, which names the part that a layer is of, and not the transformer alone."""
    with safe_open(lora / FILE, "pt") as file:
        return all(key.startswith(PREFIX) for key in file.keys())  # noqa: SIM118 (a file, no mapping)
