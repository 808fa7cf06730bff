"""Prompt files: JSON or JSONL (GenEval's `{"tag", "prompt", "include", ...}`, or instructions and pictures to edit), or text.

A row is an edit if it names pictures, as the files of ARR (`{"source_image", "instruction"}`), Edit-R1 (`{"prompt", "image"}`),
Flow-Factory (`{"prompt", "image" or "images"}`) and ShareGPT-4o-Image (a JSON list of `{"input_prompt", "input_image"}`) do, or
if a JSON object gives an instruction to each picture (Step1X-Edit). The first picture is the source, others are references.
Paths are relative to the file, or to a folder `images` beside it. An edit of the shapes world is described and drawn
(`shapes.edits.to_metadata`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from PIL.Image import Image

from arr_rpo.data.pictures import load_picture
from arr_rpo.shapes.edits import from_metadata
from arr_rpo.shapes.scene import Scene, draw
from arr_rpo.types import Prompt, UserError

SHAPES_FOLDER = Path(__file__).parents[1] / "shapes" / "data"
TEXT_KEYS = ("prompt", "instruction", "input_prompt")
PICTURE_KEYS = ("source", "source_image", "image", "images", "input_image")


@dataclass
class Row:
    """A prompt as its file has it. pictures: paths of the source and its references; scene: a source that is drawn."""

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    scene: Scene | None = None

    @property
    def asked(self) -> tuple[object, ...]:
        """What makes it another prompt than others, without opening a picture."""
        return (self.text, *(path.resolve() for path in self.pictures), self.scene)

    def prompt(self) -> Prompt:
        if self.pictures:
            source, *references = map(load_picture, self.pictures)
            return Prompt(self.id, self.text, self.metadata, source, tuple(references))
        return Prompt(self.id, self.text, self.metadata, self._drawn)

    @functools.cached_property
    def _drawn(self) -> Image | None:
        return None if self.scene is None else draw(self.scene)


class Prompts(Sequence[Prompt]):
    """The prompts of a file. Picture files are opened when a prompt is asked for, and not kept: a file may name many."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Prompt: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prompt, ...]: ...
    def __getitem__(self, index: int | slice) -> Prompt | tuple[Prompt, ...]:
        if isinstance(index, slice):
            return tuple(row.prompt() for row in self.rows[index])
        return self.rows[index].prompt()

    def shared_with(self, other: Prompts) -> list[str]:
        """Texts of prompts that are in both, with the same source where they have one."""
        theirs = {row.asked for row in other.rows}
        return sorted(row.text for row in self.rows if row.asked in theirs)


def read_prompts(source: str | Path) -> Prompts:
    """The prompts of a file, or of an embedded split ("shapes/train", "shapes/heldout", "shapes/unseen", and of edits
    "shapes/edit_train" ...).

    Raises:
        UserError: the file is missing, empty, a line is malformed, or a picture is not there; the message names file and line.
            A picture that cannot be read says so when its prompt is asked for.
    """
    text = str(source)
    path = SHAPES_FOLDER / f"{text.removeprefix('shapes/')}.jsonl" if text.startswith("shapes/") else Path(source)
    if not path.is_file():
        raise UserError(
            f"no prompt file {path}: give a .jsonl, .json or .txt file, or one of shapes/train|heldout|unseen, "
            "or shapes/edit_train|edit_heldout|edit_unseen"
        )
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"{path} holds no prompts")
    return Prompts(rows)


def _rows(path: Path) -> Iterator[Row]:
    kind = path.suffix.lower()
    if kind not in (".txt", ".jsonl", ".json"):
        raise UserError(f"{path}: a prompt file ends in .txt (a prompt a line), .jsonl or .json (docs/prompts.md)")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 ({error}): save it as UTF-8") from error
    if kind == ".json":
        parsed = _parsed(text, str(path))
        if isinstance(parsed, dict):
            parsed = [{"source": picture, "instruction": told} for picture, told in parsed.items()]
        if not isinstance(parsed, list):
            raise UserError(f"{path}: expected a list of prompts, or an object that gives an instruction to each picture")
        yield from (_row(row, path, number, f"{path}, row {number}") for number, row in enumerate(parsed, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):  # not `splitlines`: a prompt may hold other breaks, such as U+2028
        where = f"{path}, line {number}"
        if line.strip():
            yield _row(_parsed(line, where) if kind == ".jsonl" else {"prompt": line.strip()}, path, number, where)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: expected JSON ({error})") from error


def _row(row: Any, path: Path, number: int, where: str) -> Row:
    name = f"{path.stem}/{number}"
    if not isinstance(row, dict) or not (keys := [key for key in TEXT_KEYS if key in row]):
        raise UserError(f'{where}: expected a JSON object with a "prompt", or of an edit an "instruction"')
    text = row.pop(keys[0])
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: the {keys[0]} is empty")
    if isinstance(row.get("edit"), dict):
        return Row(name, text, row, scene=_scene(row, where))
    return Row(name, text, pictures=tuple(_pictures(row, path, where)), metadata=row)


def _scene(row: Mapping[str, Any], where: str) -> Scene:
    try:
        return from_metadata(row)[0]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{where}: not an edit of the shapes world as shapes.edits.to_metadata writes it ({error!r})"
        ) from error


def _pictures(row: dict[str, Any], path: Path, where: str) -> Iterator[Path]:
    """The paths that a row names, which are taken out of it."""
    named = [key for key in PICTURE_KEYS if key in row]
    if len(named) > 1:
        raise UserError(
            f"{where}: both {named[0]!r} and {named[1]!r} name pictures to edit; keep one, a path or a list of paths"
        )
    for key in named:
        value = row.pop(key)
        for item in value if isinstance(value, list) and value else [value]:
            if not isinstance(item, str) or not item:
                raise UserError(f"{where}: {key!r} holds {item!r} where the path of a picture should be")
            tried = [path.parent / item, path.parent / "images" / item]
            found = next((candidate for candidate in tried if candidate.is_file()), None)
            if found is None:
                raise UserError(f"{where}: no picture {tried[0]}, nor {tried[1]}. Paths are relative to the prompt file.")
            yield found
