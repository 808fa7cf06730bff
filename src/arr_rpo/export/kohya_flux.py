"""The names that a FLUX.1 transformer's layers have in Black Forest Labs' own code, which kohya's scripts use.

kohya's `networks/lora_flux.py` (kohya-ss/sd-scripts) calls a layer by its path in that model, with "_" for ".", after
`lora_unet_`; `.lora_down.weight`, `.lora_up.weight` and `.alpha` are its tensors, and their product is scaled by alpha over the
rows of `lora_down`. There queries, keys, values, and in single blocks the first layer of the feed-forward part, are one layer.
So their factors lie side by side: ranks add up, and `lora_up` is block-diagonal. The last layer's modulation has shift before
scale where diffusers has scale before shift (its own `swap_scale_shift`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from arr_rpo.export.lora_file import Factors
from arr_rpo.types import UserError

FUSED = {  # theirs: ours, in the order of their rows
    "double_blocks.{}.img_attn.qkv": [f"transformer_blocks.{{}}.attn.to_{part}" for part in "qkv"],
    "double_blocks.{}.txt_attn.qkv": [f"transformer_blocks.{{}}.attn.add_{part}_proj" for part in "qkv"],
    "single_blocks.{}.linear1": [
        *(f"single_transformer_blocks.{{}}.attn.to_{part}" for part in "qkv"),
        "single_transformer_blocks.{}.proj_mlp",
    ],
}
ALONE = {
    "double_blocks.{}.img_attn.proj": "transformer_blocks.{}.attn.to_out.0",
    "double_blocks.{}.txt_attn.proj": "transformer_blocks.{}.attn.to_add_out",
    "double_blocks.{}.img_mlp.0": "transformer_blocks.{}.ff.net.0.proj",
    "double_blocks.{}.img_mlp.2": "transformer_blocks.{}.ff.net.2",
    "double_blocks.{}.txt_mlp.0": "transformer_blocks.{}.ff_context.net.0.proj",
    "double_blocks.{}.txt_mlp.2": "transformer_blocks.{}.ff_context.net.2",
    "double_blocks.{}.img_mod.lin": "transformer_blocks.{}.norm1.linear",
    "double_blocks.{}.txt_mod.lin": "transformer_blocks.{}.norm1_context.linear",
    "single_blocks.{}.linear2": "single_transformer_blocks.{}.proj_out",
    "single_blocks.{}.modulation.lin": "single_transformer_blocks.{}.norm.linear",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
THEIRS = {ours: (theirs, 0, 1) for theirs, ours in ALONE.items()}
THEIRS |= {ours: (theirs, place, len(parts)) for theirs, parts in FUSED.items() for place, ours in enumerate(parts)}
SCALE_BEFORE_SHIFT = "norm_out.linear"


def kohya_tensors(layers: Mapping[str, Factors], width: int, mlp_width: int) -> dict[str, Tensor]:
    """The file of a LoRA of a FLUX.1 transformer. Scales are folded in and alpha is the rank, so that it has the same strength
    where alpha is read and where it is not.

    width: of the hidden states. mlp_width: of the feed-forward part within.

    Raises:
        UserError: a layer has no name there.
    """
    groups: dict[str, list[Factors | None]] = {}
    for ours, factors in layers.items():
        pattern = re.sub(r"\.\d+\.", ".{}.", ours, count=1)
        if pattern not in THEIRS:
            raise UserError(f"format=kohya: the layer {ours} has no name in FLUX.1's own code; take format=comfyui")
        theirs, place, parts = THEIRS[pattern]
        number = re.findall(r"\.(\d+)\.", ours)[:1]
        group = groups.setdefault(theirs.format(*number), [None] * parts)
        folded = factors.folded()
        group[place] = Factors(folded.down, torch.cat(folded.up.chunk(2)[::-1]), 1.0) if ours == SCALE_BEFORE_SHIFT else folded
    tensors: dict[str, Tensor] = {}
    for theirs, group in groups.items():
        rows = [width, width, width, mlp_width][: len(group)]
        joined = _side_by_side(group, rows) if len(group) > 1 else group[0]
        assert joined is not None
        name = f"lora_unet_{theirs.replace('.', '_')}"
        tensors[f"{name}.lora_down.weight"] = joined.down.contiguous()
        tensors[f"{name}.lora_up.weight"] = joined.up.contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(float(joined.rank))
    return tensors


def _side_by_side(group: list[Factors | None], rows: list[int]) -> Factors:
    """Several layers of one input as one. A part that was not trained has zeros in its place, so that all have one rank: by
    that diffusers takes them apart again."""
    some = next(factors for factors in group if factors is not None)
    parts = [
        factors or Factors(torch.zeros_like(some.down), some.up.new_zeros(count, some.rank), 1.0)
        for factors, count in zip(group, rows, strict=True)
    ]
    return Factors(torch.cat([part.down for part in parts]), torch.block_diag(*(part.up for part in parts)), 1.0)
