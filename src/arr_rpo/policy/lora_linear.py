"""A linear layer with a LoRA (arXiv 2106.09685), computed in the cheaper of two ways that are the same in exact numbers."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn

MOVED = 10  # multiplications in the time in which memory gives or takes a number, on CPUs and (in float32) on GPUs alike


class LoraLinear(Linear):
    """peft's layer, whose forward pass alone differs: x (W + s B A)^T as one product where that is less work, else
    x W^T + s (x A^T) B^T with the sum inside its last product.

    The one product takes no weight out of its place, so that nothing can drift, and what holds for A and B (an average of the
    weights, older ones) holds for it at once. It is taken in float32 only: in bfloat16, W + s B A would round small steps away.
    There A and B, float32 to be trained in, are rounded to bfloat16, as the stock pipeline loads them.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        base, name = self.base_layer, self.active_adapters[0]
        plain = name in self.lora_A and name not in self.lora_variant and isinstance(self.lora_dropout[name], nn.Identity)
        if self.disable_adapters or self.merged or len(self.active_adapters) > 1 or not plain or args or kwargs:
            return cast("Tensor", super().forward(x, *args, **kwargs))
        a, b, scaling = self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        if (
            x.dtype == base.weight.dtype == torch.float32
            and not _autocast(x.device.type)
            and one_product_is_less(x.numel() // x.shape[-1], a, b)
        ):
            return F.linear(x, torch.addmm(base.weight, b, a, alpha=scaling), base.bias)
        result: Tensor = base(x)
        inner = F.linear(x, a.to(x.dtype)).reshape(-1, len(a))
        return torch.addmm(result.reshape(-1, len(b)), inner, b.to(x.dtype).T, alpha=scaling).view_as(result)


def _autocast(device: str) -> bool:
    """Whether products are in another dtype than their factors; never on the meta device, which does not know the question."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def one_product_is_less(rows: int, a: Tensor, b: Tensor) -> bool:
    """Whether x (W + s B A)^T of (rows, i) is less work than x W^T + s (x A^T) B^T.

    Without gradients W + s B A takes r i o multiplications, and the second way rows r (i + o), reads x again, and reads and
    writes its result again. With them all of this is about threefold, and the gradient of the whole weight, rows i o, is on
    top of the first: that is worth it for ranks near the width alone.

    a: (r, i). b: (o, r).
    """
    (r, i), o = a.shape, len(b)
    gradients = torch.is_grad_enabled() and a.requires_grad
    one, two = r * i * o, rows * (r * (i + o) + MOVED * (i + 2 * o))
    return 3 * one + rows * i * o < 3 * two if gradients else one < two


def computed_leanly(model: nn.Module) -> None:
    """Gives peft's layers around float weights that forward pass; quantized ones keep their own."""
    for module in model.modules():
        if type(module) is Linear and type(module.base_layer) is nn.Linear:
            module.__class__ = LoraLinear


def computed_by_peft(model: nn.Module) -> None:
    """As if its layers were quantized ones: for a plan of them, where the layers are plain."""
    for module in model.modules():
        if type(module) is LoraLinear:
            module.__class__ = Linear
