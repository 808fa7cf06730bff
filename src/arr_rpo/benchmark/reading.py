"""Files that a command line names, and what stands in them; what does not fit is named with its place and the fix."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from arr_rpo.data.tables import parsed
from arr_rpo.data.texts import read_text
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


def json_rows(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a file with one a line, each with its place."""
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if line.strip():
            where = f"{file}, line {number}"
            row = parsed(line, where)
            if not isinstance(row, dict):
                raise UserError(f"{where}: expected a JSON object")
            yield row, where


def csv_rows(file: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows of a CSV file with a header, each with its place."""
    for number, row in enumerate(csv.DictReader(io.StringIO(read_text(file), newline="")), 1):
        yield row, f"{file}, row {number}"


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
