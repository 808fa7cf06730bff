"""A diffusers model whose weights are float32 and that computes in the dtype in which it was loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.hooks import HookRegistry, ModelHook
from torch import nn
from torch.utils.checkpoint import checkpoint

Dtypes = Mapping[tuple[nn.Module, str], torch.dtype]


class ComputesIn(ModelHook):
    """Casts the weights for each forward pass, to the dtypes that they have when this is made; gradients reach the weights.

    With the weights cast, and not the inputs of single operations (`torch.autocast`), the model computes to the bit what it
    does when its weights are saved in these dtypes and loaded again.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.compute_dtype: torch.dtype = model.dtype
        self.casts = True  # False where something else does
        self.dtypes: Dtypes = {(owner, key): p.dtype for owner, key, p in _weights(model)}
        # Under this name diffusers answers `model.dtype` with `compute_dtype`: pipelines prepare their latents in it.
        HookRegistry.check_if_exists_or_initialize(model).register_hook(self, "layerwise_casting")
        enable = model.enable_gradient_checkpointing
        model.enable_gradient_checkpointing = lambda: enable(self._checkpoint)

    def new_forward(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with self.cast(model) if self.casts else contextlib.nullcontext():
            return self.fn_ref.original_forward(*args, **kwargs)

    def cast(self, module: nn.Module) -> Cast:
        """Inside, the module's weights have the dtypes in which it computes."""
        return Cast(module, self.dtypes)

    def _checkpoint(self, block: nn.Module, *args: Any) -> Any:
        """A block is run again in the backward pass, outside of the model's forward pass: its weights have to be cast again."""
        contexts = (contextlib.nullcontext(), self.cast(block) if self.casts else contextlib.nullcontext())
        return checkpoint(block.__call__, *args, use_reentrant=False, context_fn=lambda: contexts)


class Cast:
    """See `ComputesIn.cast`; may be entered again."""

    def __init__(self, module: nn.Module, dtypes: Dtypes) -> None:
        self._module, self._dtypes = module, dtypes
        self._masters: list[tuple[nn.Module, str, Any]] = []

    def __enter__(self) -> None:
        self._masters = _weights(self._module)
        for owner, key, p in self._masters:
            owner._parameters[key] = p.to(self._dtypes[owner, key])

    def __exit__(self, *error: object) -> None:
        for owner, key, p in self._masters:
            owner._parameters[key] = p
        self._masters = []


def _weights(module: nn.Module) -> list[tuple[nn.Module, str, Any]]:
    return [(owner, key, p) for owner in module.modules() for key, p in owner._parameters.items() if p is not None]
