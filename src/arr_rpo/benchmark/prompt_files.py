"""The prompt files of benchmarks, as their projects publish them, as items. Each function reads one form of file."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from arr_rpo.benchmark.items import Item
from arr_rpo.benchmark.reading import (
    named,
    named_file,
    named_files,
    refuse_twice,
    rows,
    value,
)
from arr_rpo.data.images import Cell, Images
from arr_rpo.data.prompts import PromptRow, Reading, read_prompts
from arr_rpo.data.tables import parsed, rows_of
from arr_rpo.data.texts import read_text
from arr_rpo.strict_json import plain
from arr_rpo.types import UserError


def any_prompts(path: str | None, reading: Reading) -> tuple[Item, ...]:
    """Whatever `data.train` takes (docs/prompts.md), edits too."""
    prompts = read_prompts(str(named(path, "prompts", "a prompt file, or shapes/heldout")), reading)

    def item(number: int, row: PromptRow) -> Item:
        source = functools.partial(_source_of, row) if row.pictures else None
        fields = {**plain(row.metadata), "prompt": row.text}  # what was drawn, whatever a column of that name says
        return Item(row.id, number, row.text, fields, source, row.negative, lambda: row.prompt().references)

    return tuple(item(number, row) for number, row in enumerate(prompts.rows))


def _source_of(row: PromptRow) -> Image:
    source = row.prompt().source
    assert source is not None
    return source


def lines(path: str | None) -> tuple[Item, ...]:
    """A text file with a prompt a line (T2I-CompBench's `*_val.txt`)."""
    texts = [line.strip() for line in read_text(named_file(path, "prompts", "the benchmark's .txt")).split("\n")]
    return tuple(Item(str(number), number, text) for number, text in enumerate(filter(None, texts)))


def json_lines(path: str | None, text: str) -> tuple[Item, ...]:
    """A JSON object a line, with the prompt under the key `text` (GenEval's `evaluation_metadata.jsonl`)."""
    found = rows(named_file(path, "prompts", "the benchmark's .jsonl"))
    return tuple(Item(str(number), number, value(row, text, where), row) for number, (row, where) in enumerate(found))


def texts_of_folder(path: str | None) -> tuple[Item, ...]:
    """A folder with a `.txt` a prompt (DPG-Bench's `prompts`), in the order of their names. A key is a name up to its first
    dot, which is how the scorer cuts it."""
    files = named_files(path, "prompts", ".txt", "the benchmark's folder with a text file a prompt")
    keys = [file.name.split(".")[0] for file in files]
    refuse_twice(keys, str(path))
    return tuple(Item(key, number, read_text(file).strip()) for number, (key, file) in enumerate(zip(keys, files, strict=True)))


def table(path: str | None, text: str, index: str) -> tuple[Item, ...]:
    """A CSV file with a header (UniGenBench++'s `test_prompts_*.csv`); `index` is the column that names the pictures."""
    found = rows(named_file(path, "prompts", "the benchmark's .csv"))
    items = tuple(Item(value(row, index, where), n, value(row, text, where), row) for n, (row, where) in enumerate(found))
    refuse_twice([item.key for item in items], str(path))
    return items


def described_twice(path: str | None, registers: Sequence[str]) -> tuple[Item, ...]:
    """A folder of `.jsonl` files whose lines describe one picture in several registers (TIIF's `short_description` and
    `long_description`): an item a line and register. Fields: `type`, `register`, and `line`, from 0 within its file.

    The scorer takes the type of a whole file from its first line, so a file with two is refused.
    """
    items: list[Item] = []
    for file in named_files(path, "prompts", ".jsonl", "the benchmark's folder of prompts"):
        found = list(rows(file))
        if len(types := {value(row, "type", where) for row, where in found}) > 1:
            raise UserError(f"{file} has lines of several types ({', '.join(sorted(types))}): a file is of one type")
        for line, (row, where) in enumerate(found):
            for register in registers:
                fields = {"type": row["type"], "register": register, "line": line}
                key = f"{row['type']}/{register}/{line}"
                items.append(Item(key, len(items), value(row, register, where), fields))
    refuse_twice([item.key for item in items], str(path))
    return tuple(items)


def edits(path: str | None, sources: str | None, text: str, key: str, source: str) -> tuple[Item, ...]:
    """Rows of edits: JSON lines, a JSON object of rows by key (ImgEdit's `basic_edit.json`), or parquet as the hub has it
    (GEdit-Bench). `key` and `source` name columns; pictures lie in the cell, or under `sources`, else beside the file."""
    file = named_file(path, "prompts", "the benchmark's .json, .jsonl or .parquet")
    images = Images(sources, file, option="sources")
    items = []
    for number, (row, where) in enumerate(_edit_rows(file, key)):
        light = {name: cell for name, cell in row.items() if not isinstance(cell, Cell)}
        opened = functools.partial(_opened, images, row.get(source), where)
        items.append(Item(value(row, key, where), number, value(row, text, where), light, opened))
    refuse_twice([item.key for item in items], str(file))
    return tuple(items)


def _edit_rows(file: Path, key: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    if file.suffix != ".json":
        yield from ((row.cells, row.where) for row in rows_of(file))
        return
    data = parsed(read_text(file), str(file))
    if not isinstance(data, dict):
        raise UserError(f"{file}: expected an object that has a row under each key")
    for name, row in data.items():
        where = f"{file}, {name!r}"
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected an object with keys")
        yield {**row, key: name}, where


def _opened(images: Images, ref: Any, where: str) -> Image:
    """The picture that a cell holds or names."""
    if isinstance(ref, str) and not images.path(ref).is_file():
        raise UserError(f"{where}: no picture {images.path(ref)}. sources=FOLDER says where the originals lie.")
    return images.open(ref, where)
