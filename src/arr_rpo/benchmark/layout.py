"""Where a scorer looks for the pictures of an item, as templates of file names, and what lies beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from arr_rpo.benchmark.items import Item, PictureFile
from arr_rpo.types import UserError

LONGEST_NAME = 255  # bytes, on all file systems in use


class Beside(Protocol):
    """A file of an item that is no picture of ours. path: a template."""

    path: str

    def save(self, item: Item, file: Path) -> None: ...


@dataclass(frozen=True)
class RowBeside:
    """The item's row, as one line of JSON."""

    path: str

    def save(self, item: Item, file: Path) -> None:
        row = {"prompt": item.text, **item.fields}
        file.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class SourceBeside:
    """The picture that is edited."""

    path: str

    def save(self, item: Item, file: Path) -> None:
        if item.source is None:
            raise UserError(f"{item.key!r} has no picture to edit")
        item.source().save(file, format="PNG")


@dataclass(frozen=True)
class Layout:
    """picture: template of the path of a picture, of the item's fields, `key`, `number`, `text`, `model`, `sample` (from 0 of
    each item) and `place` (from 0 of all pictures). samples: pictures an item. grid: how many of them stand side by side in
    a file, as many rows as columns; 1 where each has a file of its own. beside: further files of an item.
    """

    picture: str
    samples: int
    grid: int
    beside: Sequence[Beside]

    def files(self, items: Sequence[Item], model: str) -> list[PictureFile]:
        """All picture files, item by item.

        Raises:
            UserError: a name cannot be a file's, or two pictures have one.
        """
        each = self.grid**2
        if self.samples % each:
            raise UserError(f"benchmark.layout.samples={self.samples}: a grid shows {each}, so take a multiple of it")
        found: dict[str, PictureFile] = {}
        for item in items:
            for first in range(0, self.samples, each):
                values = {"sample": first, "place": item.number * self.samples + first}
                path = named(self.picture, item, model, values)
                if path in found:
                    both = f"{found[path].item.key!r} and {item.key!r}"
                    raise UserError(f"{path} would show {both}: give benchmark.layout.picture a field that tells them apart")
                found[path] = PictureFile(path, item, tuple(range(first, first + each)))
        return list(found.values())

    def companions(self, item: Item, model: str) -> list[tuple[str, Beside]]:
        """Path and kind of each further file of an item."""
        return [(named(beside.path, item, model, {}), beside) for beside in self.beside]

    def joined(self, pictures: Sequence[Image.Image]) -> Image.Image:
        """The pictures of a file as one: themselves, or a grid without padding."""
        if self.grid == 1:
            return pictures[0]
        width, height = pictures[0].size
        sheet = Image.new("RGB", (width * self.grid, height * self.grid))
        for number, picture in enumerate(pictures):
            sheet.paste(picture, (number % self.grid * width, number // self.grid * height))
        return sheet

    def apart(self, sheet: Image.Image) -> list[Image.Image]:
        """The pictures of a file again."""
        width, height = sheet.width // self.grid, sheet.height // self.grid
        places = [(x * width, y * height) for y in range(self.grid) for x in range(self.grid)]
        return [sheet.crop((x, y, x + width, y + height)) for x, y in places]


def named(template: str, item: Item, model: str, more: Mapping[str, Any]) -> str:
    """A template with its values.

    Raises:
        UserError: a value is not there, or cannot be part of a file name.
    """
    values = {**item.fields, "key": item.key, "number": item.number, "text": item.text, "model": model, **more}
    used = {key: _part(value, item) if f"{{{key}}}" in template else value for key, value in values.items()}
    try:
        path = template.format(**used)
    except KeyError as error:
        raise UserError(
            f"the row of {item.key!r} has no {error} for the name of its picture: is this the right file?"
        ) from error
    if long := [part for part in path.split("/") if len(part.encode()) > LONGEST_NAME]:
        raise UserError(f"the file name {long[0][:60]!r}... is longer than {LONGEST_NAME} bytes: no file can be called so")
    return path


def _part(value: Any, item: Item) -> Any:
    if isinstance(value, str) and ("/" in value or "\0" in value or value in ("", ".", "..")):
        raise UserError(f"{item.key!r}: {value[:60]!r} cannot be part of a file name, and this benchmark names pictures by it")
    return value
