"""Numbers that are not finite stop an update before they reach the weights, and the weights go back to where they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from arr_rpo.types import UserError


class NonFiniteError(UserError):
    """The message names the tensor."""


def check_finite(name: str, tensor: Tensor) -> None:
    """Raises NonFiniteError where a number of the tensor is NaN or infinite."""
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        raise NonFiniteError(f"{int((~finite).sum())} of {tensor.numel()} numbers of {name} are not finite")


class Snapshot:
    """Trained weights and the optimizer's state as they are now, on the CPU, for an update that may have to be taken back."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], optimizer: Any) -> None:
        self._optimizer = optimizer
        self._parameters = list(parameters.values())
        self._weights = [_copy(p.detach()) for p in self._parameters]
        self._state = [{key: _copy(value) for key, value in optimizer.state.get(p, {}).items()} for p in self._parameters]

    @torch.no_grad()
    def restore(self) -> None:
        """To the bit; gradients are dropped."""
        for p, weight, state in zip(self._parameters, self._weights, self._state, strict=True):
            p.copy_(weight)
            p.grad = None
            now = self._optimizer.state.get(p, {})
            if not state:
                self._optimizer.state.pop(p, None)
            for key, value in state.items():
                if isinstance(value, Tensor):
                    now[key].copy_(value)
                else:
                    now[key] = value


def _copy(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
