"""Which code a run ran, and how it was started."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arr_rpo.plain_files import read_json

SOURCE = Path(__file__)


def provenance(earlier: Path) -> dict[str, Any]:
    """`commit` of the checkout that this package is run from, whether the checkout is `dirty` (has changes or files that no
    commit has), both None of an installed package; `commands`: those that `earlier`, the run's `versions.json` of a former
    start, names, and the present one.
    """
    commit = git("rev-parse", "HEAD") if git("ls-files", "--error-unmatch", SOURCE.name) is not None else None
    changes = git("status", "--porcelain") if commit else None
    return {
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
        "commands": [*commands(earlier), command(sys.argv)],
    }


def command(line: Sequence[str]) -> str:
    """As it was typed: a script is Python's to run, and "arr-rpo train" is not."""
    program, *arguments = line
    return shlex.join([*(["python", program] if program.endswith(".py") else program.split()), *arguments])


def git(*arguments: str) -> str | None:
    """What git says in the folder of this file; None where it knows nothing of it, or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=SOURCE.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commands(path: Path) -> list[str]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return []
    said = found.get("commands") if isinstance(found, dict) else None
    return said if isinstance(said, list) else []
