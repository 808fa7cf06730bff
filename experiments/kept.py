"""Rows of a frozen dataclass of texts and numbers, kept as CSV: what tables are made of when the runs are gone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

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
    kinds = {field.name: KINDS[str(field.type)] for field in fields(kind)}  # type: ignore[arg-type]
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield kind(**{name: kinds[name](value) for name, value in row.items()})
