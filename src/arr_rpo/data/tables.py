"""Rows of the files that prompts and preferences come in: JSON, JSON lines, CSV, TSV, parquet, data sets on disk."""

from __future__ import annotations

import csv
import glob
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arr_rpo.data import arrow
from arr_rpo.data.texts import read_text
from arr_rpo.strict_json import decode
from arr_rpo.types import UserError

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
SPLIT = re.compile(r"(?i)(train|test|valid|val|dev|eval|all)(?![a-z])|validation")  # how names of splits begin
PART = re.compile(r"-\d+-of-\d+$")  # of a file that the hub has cut up
MOST_OF_A_CELL = 2**28  # characters; a cell may hold a picture as a data URL


@dataclass(frozen=True)
class Row(Mapping[str, Any]):
    """A row that knows where it stands, for errors. number: from 1 within its file; of the `unit`, a row or a line."""

    path: Path
    number: int
    cells: Mapping[str, Any]
    unit: str = "row"

    @property
    def where(self) -> str:
        return f"{self.path}, {self.unit} {self.number}"

    @property
    def id(self) -> str:
        """For formats that give rows no name of their own."""
        return f"{self.path.stem}/{self.number}"

    def __getitem__(self, key: str) -> Any:
        if key not in self.cells:
            raise UserError(
                f"{self.where}: no key {key!r}; there are {', '.join(self.cells)}. Is this the right file and format?"
            )
        return self.cells[key]

    def __contains__(self, key: object) -> bool:
        return key in self.cells

    def get(self, key: str, default: Any = None) -> Any:
        return self.cells.get(key, default)

    def text(self, key: str) -> str:
        """The text under a key.

        Raises:
            UserError: it is not there, is no text, or is empty.
        """
        value = self[key]
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{self.where}: {key!r} should be a text and is {value!r:.60}")
        return value

    def sequence(self, key: str, length: int | None = None) -> Sequence[Any]:
        """The list under a key.

        Raises:
            UserError: it is not there, is no list, or is not of this length.
        """
        value = self[key]
        if not isinstance(value, Sequence) or isinstance(value, str | bytes) or length not in (None, len(value)):
            raise UserError(f"{self.where}: {key!r} should be a list{f' of {length}' if length else ''} and is {value!r:.60}")
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


def files(path: str, option: str = "preferences.path") -> list[Path]:
    """The files that a path names: a file, a folder of them, a pattern with `*`, or a data set on disk, which is a folder.

    option: what names the path on the command line, for messages.

    Raises:
        UserError: there are none, or of a kind that is not known.
    """
    one = Path(path)
    if one.is_dir():
        found = [one] if arrow.is_saved(one) else _of_one_kind(one)
    else:
        found = [one] if one.is_file() else [Path(p) for p in sorted(glob.glob(path, recursive=True))]  # noqa: PTH207
    if not found:
        raise UserError(
            f"{option}={path}: no such file. Give a {', '.join(SUFFIXES)} file, a folder, or a pattern like 'data/*.parquet'"
        )
    if strange := [p for p in found if p.suffix.lower() not in SUFFIXES and not arrow.is_saved(p)]:
        raise UserError(f"{option}={path}: {strange[0]} is none of {', '.join(SUFFIXES)}")
    return found


def _of_one_kind(folder: Path) -> list[Path]:
    """Tables of text may only describe the data that they lie beside."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    found = [path for path in found if path.suffix.lower() not in (".csv", ".tsv")] or found
    stems = dict.fromkeys(PART.sub("", path.stem) for path in found)
    if len(stems) > 1 and any(SPLIT.match(stem) for stem in stems):
        names = ", ".join(path.name for path in found[:4]) + (", ..." if len(found) > 4 else "")
        raise UserError(
            f"{folder} holds several splits ({names}), and what is trained on must not be measured: name a file, or a pattern "
            f"such as '{folder}/{next(iter(stems))}*'"
        )
    return found


def read_rows(path: str) -> Iterator[Row]:
    """The rows of all files of a path, in order."""
    for file in files(path):
        yield from rows_of(file)


def rows_of(file: Path) -> Iterator[Row]:
    """The rows of a file, or of a data set on disk; cells that hold pictures are read when they are wanted.

    Raises:
        UserError: it cannot be read, or a row is none; names file and row.
    """
    if file.suffix.lower() == ".jsonl":
        yield from (row_of(cells, file, number, "line") for number, cells in _json_lines(file))
        return
    read = arrow.on_disk if file.is_dir() else READERS.get(file.suffix.lower())
    if read is None:
        raise UserError(f"{file} is none of {', '.join(SUFFIXES)}")
    yield from (row_of(cells, file, number) for number, cells in enumerate(read(file), start=1))


def row_of(cells: Any, path: Path, number: int, unit: str = "row") -> Row:
    """Raises a UserError where it is no row."""
    if not isinstance(cells, Mapping):
        raise UserError(f"{path}, {unit} {number}: not an object with keys but {cells!r:.60}")
    return Row(path, number, cells, unit)


def _json(path: Path) -> Sequence[Any]:
    """A list of rows, or an object with such a list and little else ("pairs", "data")."""
    data = parsed(read_text(path), str(path))
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        data = lists[0] if len(lists) == 1 else data
    if not isinstance(data, list):
        raise UserError(f"{path}: expected a list of rows")
    return data


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):  # not `splitlines`: U+2028 may stand in a text
        if line.strip():
            yield number, parsed(line, f"{path}, line {number}")


def parsed(text: str, where: str) -> Any:
    """What a JSON text says; raises a UserError that names `where`."""
    try:
        return decode(text)
    except ValueError as error:
        raise UserError(f"{where}: expected JSON ({error})") from error


def _commas(path: Path) -> Iterator[dict[str, str]]:
    return _cells(path, csv.reader(_stream(path), strict=True))


def _tabs(path: Path) -> Iterator[dict[str, str]]:
    """With quotes as in CSV, as programs write it, or else as plain cells, in which a quote is a quote (PartiPrompts)."""
    quoted = csv.reader(_stream(path), delimiter="\t", strict=True)
    try:
        for _ in quoted:
            pass
    except csv.Error:
        return _cells(path, csv.reader(_stream(path), delimiter="\t", quoting=csv.QUOTE_NONE))
    return _cells(path, csv.reader(_stream(path), delimiter="\t", strict=True))


def _stream(path: Path) -> io.StringIO:
    csv.field_size_limit(MOST_OF_A_CELL)
    return io.StringIO(read_text(path), newline="")


def _cells(path: Path, rows: Any) -> Iterator[dict[str, str]]:
    """Under the names of the first row."""
    try:
        names: list[str] = next(rows, [])
        if repeated := [name for name in names if names.count(name) > 1]:
            raise UserError(f"{path}: two columns are called {repeated[0]!r}")
        for number, cells in enumerate(filter(None, rows), start=1):
            if len(cells) != len(names):
                raise UserError(f"{path}, row {number} has {len(cells)} cells, and the first line names {len(names)}")
            yield dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num} is no row of a table ({error})") from error


READERS: Mapping[str, Callable[[Path], Iterable[Any]]] = {
    ".json": _json,
    ".csv": _commas,
    ".tsv": _tabs,
    ".parquet": arrow.parquet,
}
