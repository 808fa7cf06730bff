"""Files of runs that may be unfinished, killed in the middle of a line, or older than this package: what is wrong with one is a
sentence, and the rest is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from arr_rpo.plain_files import decode_yaml, inside, lines, open_plain, read_bytes
from arr_rpo.strict_json import decode

Made = TypeVar("Made")


def read_yaml(path: Path, missing: list[str]) -> dict[str, Any]:
    """A mapping; empty, with a sentence added to `missing`, where there is none."""
    return _mapping(path, decode_yaml, missing)


def read_json(path: Path, missing: list[str]) -> dict[str, Any]:
    """See `read_yaml`. What is NaN or infinite is None, and counted in `missing`: no such number can be compared or drawn."""
    odd: list[str] = []
    found = _mapping(path, lambda text: decode(text, odd), missing)
    _say_odd(path, odd, missing)
    return found


def _say_odd(path: Path, odd: list[str], missing: list[str]) -> None:
    if odd:
        count = f"{len(odd)} number{'s are' if len(odd) > 1 else ' is'}"
        missing.append(f"{path.name}: {count} not finite ({', '.join(sorted(set(odd)))}), and left out")


def _mapping(path: Path, parse: Callable[[str], Any], missing: list[str]) -> dict[str, Any]:
    try:
        found = parse(read_bytes(inside(path.parent, path)).decode("utf-8"))
    except FileNotFoundError:
        missing.append(f"no {path.name}")
        return {}
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read ({_first_line(error)})")
        return {}
    if not isinstance(found, dict):
        missing.append(f"{path.name} holds no mapping")
        return {}
    return found


def picture(folder: Path, name: object) -> Path | None:
    """The file of a picture that a run names; None where there is none, or where it lies outside of the run's folder."""
    try:
        path = inside(folder, folder / str(name))
        return path if path.is_file() else None
    except (OSError, ValueError):  # also a name that no file can have
        return None


def read_rows(path: Path, missing: list[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, one after the other. A last line that was cut off is left out and named, as are other lines
    that cannot be read, by their number. Numbers that are not finite: see `read_json`."""
    bad: list[int] = []
    odd: list[str] = []
    try:
        for number, line in enumerate(lines(inside(path.parent, path)), 1):
            try:
                row = decode(line, odd)
            except ValueError:
                if line.endswith(b"\n"):
                    bad.append(number)
                else:
                    missing.append(f"the last line of {path.name} is cut off")
                continue
            if isinstance(row, dict):
                yield row
            else:
                bad.append(number)
    except FileNotFoundError:
        missing.append(f"no {path.name}")
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read ({_first_line(error)})")
    _say_odd(path, odd, missing)
    if bad:
        missing.append(f"{path.name}: {len(bad)} lines cannot be read, line {bad[0]} for one")


def read_as(path: Path, make: Callable[[dict[str, Any]], Made], missing: list[str]) -> list[Made]:
    """What `make` makes of each row of a file; how many rows it cannot take, from an error on, is said in `missing`."""
    made, bad = [], 0
    for row in read_rows(path, missing):
        try:
            made.append(make(row))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            bad += 1
    if bad:
        missing.append(f"{path.name}: {bad} rows are in no form that is known")
    return made


def is_cut_off(path: Path) -> bool:
    """Whether the last line has no end; raises OSError where it is no file."""
    with open_plain(path) as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
