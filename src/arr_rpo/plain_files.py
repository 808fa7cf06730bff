"""Files that another may have written: read only if they are files, and no more than fits. A FIFO would be waited for without
end, a link to /dev/zero be read without end, and a hundred thousand brackets would end the process inside libyaml."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from arr_rpo.strict_json import DEEPEST, decode

MOST_BYTES = 4 * 2**30  # of a file that is read whole
MOST_OF_A_LINE = 256 * 2**20  # bytes; a row may hold pictures
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is some twenty times faster, where PyYAML has it


def inside(folder: Path, path: Path) -> Path:
    """The path, if it leads to a place below `folder`: what another's file names, or links to, may be anything on this disk.

    Raises:
        ValueError: it leads out of the folder.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):  # `resolve` raises where links go round
        raise ValueError("it lies outside of the run's folder")
    return path


def open_plain(path: Path) -> BinaryIO:
    """A file, opened to be read.

    Raises:
        OSError: it cannot be opened, or is no file but something that has no end or keeps one waiting; names it and its kind.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # else a FIFO without a writer would not even open
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise OSError(f"it is {KINDS.get(kind, 'no file')} where a file should be: {path}")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """All of a file.

    Raises:
        OSError: see `open_plain`.
        ValueError: it has more than `most` bytes.
    """
    with open_plain(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise ValueError(f"it has {size:,} bytes, more than the {most:,} that are read")
        return file.read()


def read_json(path: Path) -> Any:
    """What a JSON file in UTF-8 says, as `strict_json.decode` has it; raises OSError or ValueError."""
    return decode(read_bytes(path).decode("utf-8"))


def decode_yaml(text: str) -> Any:
    """What a YAML text says, if `check_yaml` lets it pass; raises ValueError."""
    check_yaml(text)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def check_yaml(text: str) -> None:
    """For whoever goes on to load the text.

    Raises:
        ValueError: it is no YAML, is nested beyond `strict_json.DEEPEST`, or holds references, of which a short text can make a
            thousand million entries; with the line, where YAML names one.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"it holds a reference (*{event.anchor}): write out what it refers to")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError("nested too deeply")
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends, which the last one may lack.

    Raises:
        OSError: see `open_plain`.
        ValueError: a line has more than `MOST_OF_A_LINE` bytes.
    """
    with open_plain(path) as file:
        while line := file.readline(MOST_OF_A_LINE + 1):
            if len(line) > MOST_OF_A_LINE:
                raise ValueError(f"a line has more than {MOST_OF_A_LINE:,} bytes")
            yield line


def only_plain(folder: Path) -> None:
    """Looks through a folder that is to be read by others than us (libraries, a copy).

    Raises:
        OSError: something in it is no file and no folder; see `open_plain`.
    """
    for path, folders, names in os.walk(folder):
        if links := [name for name in folders if (Path(path) / name).is_symlink()]:
            raise OSError(f"it is a link to a folder: {Path(path) / links[0]}")
        for name in names:
            open_plain(Path(path) / name).close()
