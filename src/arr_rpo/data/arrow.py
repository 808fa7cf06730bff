"""Tables that are kept in Arrow's formats: parquet files, and data sets that `datasets` has saved to disk. Their pictures stay
unread until they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arr_rpo.types import UserError

ON_DISK = "dataset_info.json"  # in the folder of a saved data set
SPLITS_ON_DISK = "dataset_dict.json"  # in a folder of several
ROWS_AT_ONCE = 1000


def parquet(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file; cells with bytes in them are `TableCell`s.

    Raises:
        UserError: pyarrow is not installed, or this is no parquet file.
    """
    file = _open_parquet(path)
    heavy = {field.name: _is_list(field.type) for field in file.schema_arrow if _holds_bytes(field.type)}
    light = [name for name in file.schema_arrow.names if name not in heavy]
    for group in range(file.num_row_groups):
        for place, cells in enumerate(file.read_row_group(group, columns=light).to_pylist()):
            yield {**cells, **{name: TableCell(path, name, group, place, several) for name, several in heavy.items()}}


def on_disk(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a data set that `save_to_disk` wrote; see `parquet`."""
    dataset = _open_dataset(path)
    names = dataset.column_names
    kinds = {name: dataset.data.schema.field(name).type for name in names}
    heavy = {name: _is_list(kind) for name, kind in kinds.items() if _holds_bytes(kind)}
    light = dataset.select_columns([name for name in names if name not in heavy])
    for start in range(0, len(dataset), ROWS_AT_ONCE):
        end = min(start + ROWS_AT_ONCE, len(dataset))
        rows = light[start:end].to_pylist() if light.column_names else [{}] * (end - start)
        for number, cells in enumerate(rows, start):
            place = divmod(number, ROWS_AT_ONCE)
            yield {**cells, **{name: TableCell(path, name, *place, several) for name, several in heavy.items()}}


@dataclass(frozen=True)
class TableCell:
    """Pictures in a table: bytes, the hub's image struct, or a list of those (`several`). place: of its row within the
    group."""

    path: Path
    column: str
    group: int
    place: int
    several: bool

    def read(self) -> Any:
        return _column(self.path, self.column, self.group)[self.place].as_py()

    def pictures(self) -> Any:
        """The cell itself, unread, or, where it holds a list, one reference to each picture in it."""
        return [Element(self, index) for index in range(len(self.read() or ()))] if self.several else self


@dataclass(frozen=True)
class Element:
    """One picture of a cell that holds a list of them."""

    cell: TableCell
    index: int

    def read(self) -> Any:
        return self.cell.read()[self.index]


def elements(value: Any) -> Sequence[Any]:
    """The pictures of a cell that holds a list of them, or none; a cell of a table stays unread but for its length."""
    return (value.pictures() if isinstance(value, TableCell) else value) or ()


@functools.lru_cache(maxsize=4)  # a row's pictures lie in a few columns of one row group
def _column(path: Path, column: str, group: int) -> Any:
    if path.is_dir():
        start = group * ROWS_AT_ONCE
        return _open_dataset(path).select_columns([column])[start : start + ROWS_AT_ONCE].column(0)
    return _open_parquet(path).read_row_group(group, columns=[column]).column(0)


@functools.lru_cache(maxsize=8)
def _open_parquet(path: Path) -> Any:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(f"{path}: parquet files need pyarrow: pip install 'arr_rpo[parquet]'") from error
    try:
        return ParquetFile(path)
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is no parquet file ({error}); fetch it again") from error


@functools.lru_cache(maxsize=8)
def _open_dataset(path: Path) -> Any:
    try:
        from datasets import load_from_disk
    except ImportError as error:
        raise UserError(f"{path}: data sets on disk need the package datasets: pip install 'arr_rpo[datasets]'") from error
    try:
        return load_from_disk(str(path)).with_format("arrow")  # rows as they are stored: no picture is decoded
    except Exception as error:  # its own, pyarrow's, and those of JSON
        raise UserError(f"{path} is no data set as save_to_disk writes it ({error}); save it again") from error


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind))


def _holds_bytes(kind: Any) -> bool:
    """Whether a column is of bytes, or of structs or lists with bytes in them."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(_holds_bytes(field.type) for field in kind)
    if _is_list(kind):
        return _holds_bytes(kind.value_type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def saved_split(folder: Path, names: Sequence[str]) -> Path | None:
    """Of a folder of several saved data sets, that of the first name that is among them; None of another folder."""
    if not (folder / SPLITS_ON_DISK).is_file():
        return None
    return next((folder / name for name in names if (folder / name / ON_DISK).is_file()), None)


def is_saved(folder: Path) -> bool:
    return (folder / ON_DISK).is_file()
