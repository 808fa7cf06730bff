"""Checkpoints that are whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from arr_rpo.types import UserError
from arr_rpo.whole_files import flush


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that kill -9 or a full disk leaves the last whole checkpoint in place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        target = Path(path)
        temporary = target.with_name(target.name + ".part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:  # straight to the disk: Lightning's own way makes two copies in memory
                torch.save(checkpoint, file)
                flush(file)
            temporary.replace(target)
        except (OSError, RuntimeError) as error:  # torch's writer has its own word for a full disk
            temporary.unlink(missing_ok=True)
            raise UserError(f"could not write the checkpoint {target} ({error}); the one before it is untouched") from error
