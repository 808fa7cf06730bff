"""The scalars of TensorBoard's event files and of Lightning's `metrics.csv`: tag -> step -> value.

An event file is read as the records that it is made of (TFRecord: length, its checksum, data, their checksum), without checking
the data's: tensorboard's own reader does it byte by byte in Python, which takes 0.1 s for the pictures of one run, or 10 s for
those of a study of a hundred. A damaged record is one that protobuf cannot parse.
"""

from __future__ import annotations

import csv
import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event

from arr_rpo.plain_files import read_bytes
from arr_rpo.report.files import inside

Scalars = dict[str, dict[int, float]]
LENGTH, CHECKSUM = 8, 4  # bytes


def read_events(paths: list[Path], missing: list[str]) -> Scalars:
    """Of several files of a run, which has one more each time that it goes on, the later one counts where both have a step."""
    found: Scalars = {}
    for path in sorted(paths, key=_natural):
        for event in _events(path, missing):
            for value in event.summary.value:
                number = scalar(value)
                if number is not None:
                    found.setdefault(value.tag, {})[event.step] = number
    return found


def _natural(path: Path) -> list[str | int]:
    """`version_2` before `version_10`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))]


def scalar(value: Any) -> float | None:
    """The number of a summary's value, in the old form or in the new one (a tensor of one float)."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.HasField("tensor") and value.metadata.plugin_data.plugin_name == "scalars":
        numbers = value.tensor.float_val or struct.unpack("<f", value.tensor.tensor_content)
        return float(numbers[0])
    return None


def _events(path: Path, missing: list[str]) -> Iterator[Event]:
    try:
        for record in _records(read_bytes(inside(path.parent, path))):
            yield Event.FromString(record)
    except EOFError:
        missing.append(f"the last record of {path.name} is cut off")
    except (OSError, ValueError, DecodeError, struct.error) as error:
        missing.append(f"{path.name} is damaged, and read to the damage only ({error})")


def _records(content: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(content):
        start = place + LENGTH + CHECKSUM
        if start > len(content):
            raise EOFError
        (length,) = struct.unpack_from("<Q", content, place)
        place = start + length + CHECKSUM
        if place > len(content):
            raise EOFError
        yield content[start : start + length]


def read_metrics(paths: list[Path], missing: list[str]) -> Scalars:
    """Lightning's CSV logger: a row a call of `log`, with empty cells for what that call did not log."""
    found: Scalars = {}
    for path in sorted(paths, key=_natural):
        try:
            text = read_bytes(inside(path.parent, path)).decode("utf-8")
            for row in csv.DictReader(io.StringIO(text, newline="")):
                step = int(row["step"])
                for tag, cell in row.items():
                    if cell and tag not in ("step", None):
                        found.setdefault(tag, {})[step] = float(cell)
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            missing.append(f"{path.name} is read in part only ({error!r})")
    return found
