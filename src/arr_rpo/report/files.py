"""Files of runs that may be unfinished, killed in the middle of a line, or older than this package: what is wrong with one is a
sentence, and the rest is read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is some twenty times faster, where PyYAML has it


def read_yaml(path: Path, missing: list[str]) -> dict[str, Any]:
    """A mapping; empty, with a sentence added to `missing`, where there is none."""
    return _mapping(path, lambda text: yaml.load(text, Loader), missing)


def read_json(path: Path, missing: list[str]) -> dict[str, Any]:
    """See `read_yaml`. What is NaN or infinite is None, and counted in `missing`: no such number can be compared or drawn."""
    odd: list[str] = []
    found = _mapping(path, lambda text: _parsed(text, odd), missing)
    _say_odd(path, odd, missing)
    return found


def _parsed(text: str | bytes, odd: list[str]) -> Any:
    return json.loads(text, parse_constant=odd.append)  # `append` returns None, which is then the value


def _say_odd(path: Path, odd: list[str], missing: list[str]) -> None:
    if odd:
        count = f"{len(odd)} number{'s are' if len(odd) > 1 else ' is'}"
        missing.append(f"{path.name}: {count} not finite ({', '.join(sorted(set(odd)))}), and left out")


def _mapping(path: Path, parse: Callable[[str], Any], missing: list[str]) -> dict[str, Any]:
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        missing.append(f"no {path.name}")
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        missing.append(f"{path.name} cannot be read ({_first_line(error)})")
        return {}
    if not isinstance(found, dict):
        missing.append(f"{path.name} holds no mapping")
        return {}
    return found


def read_rows(path: Path, missing: list[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, one after the other. A last line that was cut off is left out and named, as are other lines
    that cannot be read, by their number. Numbers that are not finite: see `read_json`."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        missing.append(f"no {path.name}")
        return
    except OSError as error:
        missing.append(f"{path.name} cannot be read ({_first_line(error)})")
        return
    bad: list[int] = []
    odd: list[str] = []
    with file:
        for number, line in enumerate(file, 1):
            try:
                row = _parsed(line, odd)
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
    _say_odd(path, odd, missing)
    if bad:
        missing.append(f"{path.name}: {len(bad)} lines cannot be read, line {bad[0]} for one")


def is_cut_off(path: Path) -> bool:
    """Whether the last line has no end."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
