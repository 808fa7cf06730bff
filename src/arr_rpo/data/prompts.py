"""Prompts from files as people have them (docs/prompts.md): text, JSON lines, JSON, CSV, TSV, parquet, data sets on disk.

A row is an edit if it names pictures. The first one is the source, others are references. Paths are relative to the file, or to
a folder `images` beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from arr_rpo.data import arrow, tables
from arr_rpo.data.columns import Columns
from arr_rpo.data.images import ImageRef, Images
from arr_rpo.data.pictures import Sides
from arr_rpo.data.tables import Row
from arr_rpo.data.texts import read_text
from arr_rpo.strict_json import short
from arr_rpo.types import Prompt, UserError

EMBEDDED = Path(__file__).parents[1] / "shapes" / "data"
SUFFIXES = (".txt", *tables.SUFFIXES)
SPLITS = {  # what the files of a folder are called: flow_grpo and Flow-Factory have train.txt and test.txt, or .jsonl
    "train": ("train", "train_metadata"),
    "heldout": ("heldout", "test", "test_metadata", "validation", "val"),
}


@dataclass(frozen=True)
class Reading:
    """How prompt files are read.

    columns: what the columns are that are not called as usual; see `columns.Columns`.
    image_root: what the paths of pictures are relative to, and below which they lie; None takes the folder of the file.
    min_side, max_side: pixels of a picture's sides. One that is smaller is refused, a larger one scaled down when it is opened.
    """

    columns: Mapping[str, str | None]
    image_root: str | None
    min_side: int
    max_side: int


AS_IT_IS = Reading(columns={}, image_root=None, min_side=1, max_side=2**15)  # for the embedded splits, and for texts alone


@dataclass
class PromptRow:
    """A prompt as its file has it. pictures: the source and its references."""

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[ImageRef, ...] = ()
    negative: str | None = None
    images: Images | None = None
    where: str = ""

    @property
    def words(self) -> tuple[object, ...]:
        """What makes it another prompt than others, but for its pictures."""
        return self.text, self.negative, len(self.pictures)

    @functools.cached_property
    def asked(self) -> tuple[object, ...]:
        """What makes it another prompt than others: its words, and what its pictures hold, which are read for it."""
        assert self.images is not None or not self.pictures
        return *self.words, *(self.images.digest(ref, self.where) for ref in self.pictures if self.images)

    def prompt(self) -> Prompt:
        """Raises a UserError where a picture cannot be read, or is too small."""
        if self.images is None:
            return Prompt(self.id, self.text, self.metadata, negative=self.negative)
        source, *references = (self.images.open(picture, self.where) for picture in self.pictures)
        return Prompt(self.id, self.text, self.metadata, source, tuple(references), self.negative)


class Prompts(Sequence[Prompt]):
    """The prompts of a file. Pictures are opened when a prompt is asked for, and not kept: a file may name many."""

    def __init__(self, rows: Sequence[PromptRow]) -> None:
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
        """Texts of prompts that are in both, with the same pictures where they have some."""
        return sorted(row.text for row in self.rows if self._is_in(other, row))

    def without(self, other: Prompts) -> Prompts:
        """Those that are not in the other."""
        return Prompts([row for row in self.rows if not self._is_in(other, row)])

    @staticmethod
    def _is_in(other: Prompts, row: PromptRow) -> bool:
        """Pictures are read of rows with the same words alone."""
        alike = other.by_words.get(row.words, ())
        return bool(alike) and (not row.pictures or any(row.asked == one.asked for one in alike))

    @functools.cached_property
    def by_words(self) -> Mapping[tuple[object, ...], Sequence[PromptRow]]:
        found: dict[tuple[object, ...], list[PromptRow]] = {}
        for row in self.rows:
            found.setdefault(row.words, []).append(row)
        return found


def read_prompts(source: str | Path, how: Reading = AS_IT_IS, split: str = "heldout") -> Prompts:
    """The prompts of a file, of a folder with a file for each split, or of an embedded split ("shapes/train", "shapes/heldout",
    "shapes/unseen", and of edits "shapes/edit_train" ...).

    split: "train" or "heldout", which of a folder's is wanted.

    Raises:
        UserError: the file is missing, empty, a row is malformed or could be read in two ways, or a picture is not there or
            lies elsewhere; the message names file and row. A picture that cannot be read says so when its prompt is asked for.
    """
    path = _file(str(source), split)
    rows = list(_rows(path, how))
    if not rows:
        raise UserError(f"{path} holds no prompts")
    return Prompts(rows)


def _file(source: str, split: str) -> Path:
    embedded = EMBEDDED / f"{source.removeprefix('shapes/')}.jsonl"
    path = embedded if source.startswith("shapes/") else Path(source)
    if path.is_dir() and not arrow.is_saved(path):
        return _of_folder(path, split)
    if not path.is_file() and not path.is_dir():
        raise UserError(
            f"no prompt file {path}: give a {', '.join(SUFFIXES)} file, a folder with train.txt and test.txt, or one of "
            "shapes/train|heldout|unseen, or shapes/edit_train|edit_heldout|edit_unseen"
        )
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: a prompt file ends in {', '.join(SUFFIXES)} (docs/prompts.md)")
    return path


def _of_folder(folder: Path, split: str) -> Path:
    names = SPLITS[split]
    if (saved := arrow.saved_split(folder, names)) is not None:
        return saved
    found = [path for name in names for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if len(found) != 1:
        wanted = f"one of {', '.join(f'{name}.txt' for name in names)} (or {', '.join(SUFFIXES[1:])}), or a data set on disk"
        there = f"both {found[0].name} and {found[1].name}" if found else "none"
        raise UserError(f"{folder}: of a folder of prompts, {wanted} is read for {split}, and there is {there}: name a file")
    return found[0]


def _rows(path: Path, how: Reading) -> Iterator[PromptRow]:
    images = Images(how.image_root, path, option="data.", sides=Sides(how.min_side, how.max_side))
    columns = Columns(how.columns)
    for cells in _cells(path):
        name = f"{path.stem}/{cells.number}"
        parts = columns.parts(cells)
        row = PromptRow(name, parts.text, parts.metadata, negative=parts.negative, where=cells.where)
        if parts.pictures:
            row.images, row.pictures = images, tuple(_found(images, ref, cells.where) for ref in parts.pictures)
        yield row


def _cells(path: Path) -> Iterator[Row]:
    if path.suffix.lower() == ".txt":
        for number, line in enumerate(read_text(path).split("\n"), 1):  # not `splitlines`: U+2028 may stand in a prompt
            if line.strip():
                yield Row(path, number, {"prompt": line.strip()}, "line")
    elif path.suffix.lower() == ".json":
        for number, cells in enumerate(_listed(tables.parsed(read_text(path), str(path)), path), 1):
            yield tables.row_of(cells, path, number)
    else:
        yield from tables.rows_of(path)


def _listed(data: Any, path: Path) -> Sequence[Any]:
    """A list of rows, alone or as the one list of an object; or an object that says of each picture how to edit it, or has a
    row under each key."""
    if isinstance(data, list):
        return data
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list) and all(isinstance(row, dict) for row in value)]
        if len(lists) == 1:
            return lists[0]
        if all(isinstance(told, str) for told in data.values()):
            return [{"source": picture, "instruction": told} for picture, told in data.items()]
        if all(isinstance(row, dict) for row in data.values()):
            return [{"key": key, **row} for key, row in data.items()]
        if all(isinstance(told, list) and all(isinstance(one, str) for one in told) for told in data.values()):
            return [{"source": picture, "instruction": one} for picture, told in data.items() for one in told]
    raise UserError(f"{path}: expected a list of prompts, or an object that gives an instruction to each picture")


def _found(images: Images, ref: ImageRef, where: str) -> ImageRef:
    """A path as it leads to a file; other references as they are."""
    if not isinstance(ref, str) or ref[:5].lower() == "data:" or "://" in ref:
        return ref
    tried = (ref, f"images/{ref}")
    try:
        found = next((name for name in tried if images.path(name).is_file()), None)
    except OSError as error:  # a name that no file can have
        raise UserError(f"{where}: {short(ref)!r} names no file ({error.strerror})") from error
    except (UserError, ValueError) as error:
        raise UserError(f"{where}: {error}") from error
    if found is None:
        raise UserError(
            f"{where}: no picture {images.path(ref)}, nor {images.path(tried[1])}. Paths are relative to the prompt file, or "
            "to data.image_root."
        )
    return found
