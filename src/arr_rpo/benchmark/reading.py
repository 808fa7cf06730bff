"""Files that a command line names, and what stands in them; what does not fit is named with its place and the fix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from arr_rpo.data.tables import rows_of
from arr_rpo.types import UserError


def named(path: str | None, key: str, what: str) -> Path:
    """The path under a key of the command line.

    Raises:
        UserError: there is none; the message says what belongs there.
    """
    if path is None:
        raise UserError(f"{key} is not given: {key}=... names {what} (docs/benchmarks.md says where each project keeps it)")
    return Path(path)


def named_file(path: str | None, key: str, what: str) -> Path:
    """The same, of a file that is there."""
    file = named(path, key, what)
    if not file.is_file():
        raise UserError(f"{key}={file}: no such file. Give {what}.")
    return file


def named_files(path: str | None, key: str, suffix: str, what: str) -> list[Path]:
    """The files of a folder that end in `suffix`, by name; there is at least one."""
    folder = named(path, key, what)
    found = sorted(folder.glob(f"*{suffix}"))
    if not found:
        raise UserError(f"{key}={folder}: no {suffix} files there. Give {what}.")
    return found


def rows(file: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The rows of a table (`data.tables.rows_of`), each with its place."""
    return ((row.cells, row.where) for row in rows_of(file))


def value(row: Mapping[str, Any], key: str, where: str) -> str:
    """The text, or number, under a key of a row."""
    found = row.get(key)
    if not isinstance(found, str | int) or not str(found).strip():
        raise UserError(f"{where}: no text under {key!r}; there are {', '.join(map(str, row))}. Is this the right file?")
    return str(found).strip()


def refuse_twice(keys: Iterable[str], where: str) -> None:
    """Raises a UserError where a key stands twice."""
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise UserError(f"{where}: {twice[0]!r} stands there twice, and pictures are named by it")
