"""What may stand in place of a file of somebody else's."""

from __future__ import annotations

import os
from pathlib import Path


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def brackets(path: Path) -> None:
    path.write_text("[" * 100_000, encoding="utf-8")
