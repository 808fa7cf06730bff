"""Checkpoints that hold numbers, straight to the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from arr_rpo.algorithm.finite import check_finite
from arr_rpo.whole_files import flush


class FiniteCheckpointIO(TorchCheckpointIO):
    """Looks at every number of weights, optimizer and averages before it writes; without Lightning's two copies in memory and
    its file in the system's temporary folder. That a checkpoint appears whole is `RunFolder`'s part."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Raises NonFiniteError, which names the tensor, and OSError."""
        for name, tensor in _floats(checkpoint, ""):
            check_finite(f"{name} of the checkpoint", tensor)
        try:
            with Path(path).open("wb") as file:
                torch.save(checkpoint, file)
                flush(file)
        except RuntimeError as error:  # torch's writer has its own word for a full disk
            raise OSError(str(error)) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Mapped, not read: each process of a machine takes what is its own of one copy in memory."""
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)


def _floats(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield name, value
    elif isinstance(value, dict | list | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _floats(part, f"{name}.{key}" if name else str(key))
