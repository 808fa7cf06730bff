"""Counts what tensors take on torch's meta device, where they have shapes but no data."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

META = torch.device("meta")


class LiveBytes(TorchDispatchMode):
    """Bytes of the meta tensors made inside that are alive: `now`, and `peak` at most. Those of `known` modules do not count.

    torch's own `MemTracker` counts likewise, but takes a module that is called twice, as with guidance, for an error.
    """

    def __init__(self, known: Iterable[nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen: Any = WeakIdKeyDictionary()
        for module in known:
            for tensor in [
                *module.parameters(),
                *module.buffers(),
                *(p.grad for p in module.parameters() if p.grad is not None),
            ]:
                self._seen[tensor.untyped_storage()] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._see, out)
        return out

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if tensor.device != META or storage in self._seen:
            return
        self._seen[storage] = True
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self.now -= size


@contextlib.contextmanager
def gpu_kernels() -> Iterator[None]:
    """Lets two functions keep for backward what their kernels on a GPU keep; the meta device would take them apart.

    Attention keeps its inputs, its output and a number a row (no L x L matrix); the RMS norm keeps its input, about
    as a layer norm does.
    """

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Any:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return flash(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]

    def rms_norm(input: Tensor, normalized_shape: list[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
        return functional.layer_norm(input, normalized_shape, weight)

    before = functional.scaled_dot_product_attention, functional.rms_norm
    functional.scaled_dot_product_attention, functional.rms_norm = attention, rms_norm  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.scaled_dot_product_attention, functional.rms_norm = before
