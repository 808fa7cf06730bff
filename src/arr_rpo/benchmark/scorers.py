"""How official scorers find pictures, written anew from their sources (docs/benchmarks.md), to say what they would miss.

Some ask for a path of each prompt (`LooksUp`). Others list a folder and read the names (`ListsFlat`, `ListsNumbered`): what
they cannot read is skipped, often in silence, and so are prompts that no name leads to.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from arr_rpo.benchmark.items import PictureFile
from arr_rpo.data.pictures import UNREADABLE
from arr_rpo.strict_json import decode
from arr_rpo.types import UserError

Size = tuple[int, int]
Sizes = Mapping[str, Size]


class OfficialScorer(Protocol):
    """What a scorer does with a folder."""

    def findings(self, root: Path, files: Sequence[PictureFile], sizes: Sizes) -> Iterator[str]:
        """A sentence for each thing that it would miss or trip over. sizes: of whole files, width and height, by
        their paths; what is not in it is not compared."""

    def refuse(self, files: Sequence[PictureFile]) -> None:
        """Raises a UserError where the scorer could not find its way from a name to its prompt."""


@dataclass(frozen=True)
class LooksUp:
    """Asks for the path of each picture, with one of `suffixes`. missing: what happens where there is none."""

    suffixes: Sequence[str]
    missing: str

    def refuse(self, files: Sequence[PictureFile]) -> None:
        """Every name leads to its prompt."""

    def findings(self, root: Path, files: Sequence[PictureFile], sizes: Sizes) -> Iterator[str]:
        for file in files:
            stem = root / file.path.removesuffix(".png")
            found = [path for suffix in self.suffixes if (path := stem.with_name(stem.name + suffix)).is_file()]
            yield from picture_findings(found[0], root, sizes) if found else [f"{file.path} is missing: {self.missing}"]
        asked = {root / file.path for file in files}
        folders = {path.parent for path in asked}
        for path in sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir()):
            if path.suffix == ".png" and path not in asked and not path.stem.endswith("_SRCIMG"):
                yield f"{path.relative_to(root)} is of no prompt: nobody looks for it"


@dataclass(frozen=True)
class ListsFlat:
    """Lists one folder and takes the prompt from each name: what stands before the first `ends` is its `names`, a key or a
    text. numbered: the last part after "_" says which picture it is, from 0 of all prompts in their order, and there are as
    many of each prompt."""

    ends: str
    names: str
    numbered: bool

    def refuse(self, files: Sequence[PictureFile]) -> None:
        for file in files:
            if self._read(Path(file.path).name) != self._expected(file):
                raise UserError(
                    f"{file.item.key!r}: the scorer reads the name {Path(file.path).name!r} up to the first {self.ends!r}, "
                    "which is not its prompt. Leave the prompt out."
                )

    def findings(self, root: Path, files: Sequence[PictureFile], sizes: Sizes) -> Iterator[str]:
        expected = {self._expected(file): file for file in files}
        for folder in sorted({(root / file.path).parent for file in files}):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                shown = path.relative_to(root)
                if (key := self._read(path.name)) is None or path.is_dir():
                    yield f"{shown} stops the scorer, or is skipped: its name says no picture"
                elif key not in expected:
                    yield f"{shown} is of no prompt of the benchmark: {key[0]!r} with number {key[1]}"
                else:
                    expected.pop(key)
                    yield from picture_findings(path, root, sizes)
        for file in expected.values():
            yield f"{file.path} is missing: its prompt is left out of the mean, in silence"

    def _read(self, name: str) -> tuple[str, int] | None:
        prompt = name.partition(self.ends)[0]
        if not self.numbered:
            return prompt, 0
        digits = name.rpartition("_")[2].partition(".")[0]
        return (prompt, int(digits)) if digits.isdigit() else None

    def _expected(self, file: PictureFile) -> tuple[str, int]:
        name = file.item.key if self.names == "key" else file.item.text
        number = int(Path(file.path).stem.rsplit("_", 1)[-1]) if self.numbered else 0
        return name, number


@dataclass(frozen=True)
class ListsNumbered:
    """Lists folders whose names are digits; each has `row_file`, one line of JSON, and PNG files named by digits under
    `samples`, of which there are to be `count`."""

    row_file: str
    count: int

    def refuse(self, files: Sequence[PictureFile]) -> None:
        """Names are numbers."""

    def findings(self, root: Path, files: Sequence[PictureFile], sizes: Sizes) -> Iterator[str]:
        expected = {(root / file.path).parents[1]: file for file in files}
        for folder in sorted({path.parent for path in expected}):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if not (path.is_dir() and path.name.isdigit()):
                    yield f"{path.relative_to(root)} is skipped: it is no folder named by digits"
                elif path not in expected:
                    yield f"{path.relative_to(root)} is of no prompt of the benchmark, and counts all the same"
        for folder, file in expected.items():
            yield from self._in(folder, file, root, sizes)

    def _in(self, folder: Path, file: PictureFile, root: Path, sizes: Sizes) -> Iterator[str]:
        shown = folder.relative_to(root)
        if not folder.is_dir():
            yield f"{shown} is missing: its prompt is left out of the mean, in silence"
            return
        yield from self._row(folder / self.row_file, file, root)
        samples = folder / "samples"
        pictures = sorted(samples.iterdir()) if samples.is_dir() else []
        read = [path for path in pictures if path.suffix == ".png" and path.stem.isdigit()]
        for path in pictures:
            if path not in read:
                yield f"{path.relative_to(root)} is skipped: a picture is named by digits and ends in .png"
        if len(read) != self.count:
            lacking = [f"{n:04d}.png" for n in range(self.count) if not (samples / f"{n:04d}.png").is_file()]
            yield f"{shown}/samples has {len(read)} pictures of {self.count}; missing: {', '.join(lacking) or 'none'}"
        for path in read:
            yield from picture_findings(path, root, sizes)

    def _row(self, path: Path, file: PictureFile, root: Path) -> Iterator[str]:
        try:
            row = decode(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield f"{path.relative_to(root)} stops the scorer: it is missing or no JSON ({error})"
            return
        if row != {**file.item.fields}:
            yield f"{path.relative_to(root)} is not line {file.item.number + 1} of the benchmark's: other prompts are scored"


def picture_findings(path: Path, root: Path, sizes: Sizes) -> Iterator[str]:
    """Whether a picture can be read to its end, and has the size that the scorer cuts by."""
    try:
        with Image.open(path) as picture:
            picture.load()
            found = picture.size
    except UNREADABLE as error:
        yield f"{path.relative_to(root)} cannot be read as a picture ({error})"
        return
    size = sizes.get(path.relative_to(root).as_posix(), found)
    if found != size:
        yield f"{path.relative_to(root)} is {found[0]} x {found[1]} pixels and not {size[0]} x {size[1]}"


def sizes_by_source(root: Path, files: Sequence[PictureFile]) -> dict[str, Size]:
    """Of edits: the commonest size of those with sources of one size."""
    by_source: dict[Size, dict[str, Size]] = defaultdict(dict)
    for file in files:
        if file.item.source is not None and (found := _size_of(root / file.path)):
            by_source[file.item.source().size][file.path] = found
    common = {source: Counter(sizes.values()).most_common(1)[0][0] for source, sizes in by_source.items()}
    return {path: common[source] for source, sizes in by_source.items() for path in sizes}


def _size_of(path: Path) -> Size | None:
    try:
        with Image.open(path) as picture:
            return picture.size
    except UNREADABLE:
        return None


def companion_findings(root: Path, paths: Iterable[str], missing: str) -> Iterator[str]:
    """Further files of an item, such as the source of an edit."""
    for path in paths:
        if not (root / path).is_file():
            yield f"{path} is missing: {missing}"
