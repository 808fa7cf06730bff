"""Numbers that are not finite: their update is skipped, and the weights are as before it (`callbacks.guard` ends the run)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from arr_rpo import ranks
from arr_rpo.types import UserError


class NonFiniteError(UserError):
    """The message names the tensor."""


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """What is wrong with the first tensor that has a number that is not finite; None where all are.

    A GPU is waited for once.
    """
    own = {name: tensor.to_local() if isinstance(tensor, DTensor) else tensor for name, tensor in tensors.items()}
    whole = [torch.isfinite(tensor).all() for tensor in own.values()]
    if not whole or all(torch.stack([one.to(whole[0].device) for one in whole]).tolist()):
        return None
    return next(said for name, tensor in own.items() if (said := _said(name, tensor)) is not None)


def raise_together(message: str | None) -> None:
    """Raises NonFiniteError in all processes where one has a message."""
    for told in ranks.gathered(message):
        if told is not None:
            raise NonFiniteError(told)


def check_finite(name: str, tensor: Tensor) -> None:
    """Raises NonFiniteError where a number of the tensor is NaN or infinite."""
    if (said := _said(name, tensor)) is not None:
        raise NonFiniteError(said)


def _said(name: str, tensor: Tensor) -> str | None:
    finite = torch.isfinite(tensor)
    return None if bool(finite.all()) else f"{int((~finite).sum())} of {tensor.numel()} numbers of {name} are not finite"


class Snapshot:
    """Trained weights and the optimizer's state as they are now, on the CPU, for an update that may have to be taken back."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], optimizer: Any) -> None:
        self._optimizer = optimizer
        self._parameters = list(parameters.values())
        self._weights = [_Kept(p.detach()) for p in self._parameters]
        self._groups = [
            {key: _Kept(value) for key, value in group.items() if key != "params"} for group in optimizer.param_groups
        ]
        self._state = [{key: _Kept(value) for key, value in optimizer.state.get(p, {}).items()} for p in self._parameters]

    @torch.no_grad()
    def restore(self) -> None:
        """To the bit; gradients are dropped."""
        for group, kept in zip(self._optimizer.param_groups, self._groups, strict=True):
            group.update({key: value.back() for key, value in kept.items()})
        for p, weight, state in zip(self._parameters, self._weights, self._state, strict=True):
            p.copy_(weight.value)
            p.grad = None
            if state:
                self._optimizer.state[p].update({key: kept.back() for key, kept in state.items()})
            else:
                self._optimizer.state.pop(p, None)


class _Kept:
    """A value, a tensor as a copy on the CPU that knows where it came from."""

    def __init__(self, value: Any) -> None:
        self.device = value.device if isinstance(value, Tensor) else None
        self.value = value if self.device is None else value.detach().to("cpu", copy=True)

    def back(self) -> Any:
        return self.value if self.device is None else self.value.to(self.device, copy=True)
