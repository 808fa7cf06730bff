"""Files that appear whole or not at all, whatever stops the run or fills the disk."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import IO, Any


def write_text(path: Path, text: str) -> None:
    """Writes beside the target, under a name of its own, then renames.

    Raises:
        OSError: it cannot be written; what stood at `path` before stands there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name[:80]}.{uuid.uuid4().hex}.part")  # opened as any file is, so that others may read it
    try:
        with beside.open("x", encoding="utf-8") as file:
            file.write(text)
            flush(file)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """See `write_text`."""
    write_text(path, json.dumps(data, indent=1) + "\n")


def flush(file: IO[Any]) -> None:
    """Until what was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())
