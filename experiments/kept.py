"""Rows of a frozen dataclass of texts and numbers, kept as CSV: what tables are made of when the runs are gone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from arr_rpo.types import UserError
from arr_rpo.whole_files import write_text

T = TypeVar("T")
KINDS: dict[str, type] = {"str": str, "int": int, "float": float}


def write(rows: Iterable[Any], kind: type[Any], path: Path) -> None:
    """Numbers with six digits."""
    text = io.StringIO()
    lines = csv.DictWriter(text, [field.name for field in fields(kind)], lineterminator="\n")
    lines.writeheader()
    for row in rows:
        lines.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in asdict(row).items()})
    write_text(path, text.getvalue())


def read(kind: type[T], path: Path) -> Iterator[T]:
    """The rows of a file that `write` made.

    Raises:
        UserError: its columns are not those of the rows, as of a file that an older version wrote.
    """
    kinds = {field.name: KINDS[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if (found := list(rows.fieldnames or ())) != list(kinds):
            raise UserError(
                f"{path} has the columns {', '.join(found)}, not {', '.join(kinds)}: give another file, or make it anew"
            )
        for row in rows:
            yield kind(**{name: kinds[name](value) for name, value in row.items()})
