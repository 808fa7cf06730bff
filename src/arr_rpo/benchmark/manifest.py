"""What the pictures of a folder were drawn by, so that they are not gone on with by another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arr_rpo.types import UserError
from arr_rpo.whole_files import write_json

MANIFEST = "manifest.json"
TOLD = ("versions", "picture_size", "prompts_from", "weights_from")  # of no matter for what is drawn


def begin(output: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest of a new folder.

    Raises:
        UserError: the folder has pictures that were drawn by something else.
    """
    if (there := read(output)) is None:
        write_json(output / MANIFEST, manifest)
        return
    here = json.loads(json.dumps(manifest))
    other = [key for key in {**there, **here} if key not in TOLD and there.get(key) != here.get(key)]
    if other:
        key = other[0]
        raise UserError(
            f"output={output} has pictures with another {key}: {there.get(key)} there and {here.get(key)} here. Give its "
            f"{key}, or another output."
        )


def read(output: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None of one that has none."""
    try:
        found: dict[str, Any] = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{output / MANIFEST} is no JSON ({error}): remove it to draw anew") from error
    return found


def note(output: Path, **more: Any) -> None:
    """Adds to the manifest what only drawing tells."""
    write_json(output / MANIFEST, {**(read(output) or {}), **more})


def digest_of(path: str | None) -> str | None:
    """The digest of what a command line names, if it is a path; else, of an embedded split, the name itself."""
    return folder_digest(Path(path)) if path is not None and Path(path).exists() else path


def folder_digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's names and files."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    found = hashlib.sha256()
    for file in files:
        found.update(b"" if file == path else str(file.relative_to(path)).encode() + b"\0")
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()
