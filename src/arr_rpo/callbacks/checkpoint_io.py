"""Checkpoints that are whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from arr_rpo.types import UserError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that kill -9 or a full disk leaves the last whole checkpoint in place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        target = Path(path)
        temporary = target.with_name(target.name + ".part")
        try:
            super().save_checkpoint(checkpoint, temporary, storage_options)
            temporary.replace(target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(f"could not write the checkpoint {target} ({error}); the one before it is untouched") from error
