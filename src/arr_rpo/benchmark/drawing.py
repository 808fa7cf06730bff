"""Draws the pictures of a benchmark into a folder, picture by picture, so that it can go on where it was stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL.Image import Image

from arr_rpo.benchmark.items import PictureFile
from arr_rpo.benchmark.layout import Layout
from arr_rpo.types import Painter

PARTS = ".parts"  # files that are not whole yet: beside the pictures, a scorer that lists folders would read them


def draw(
    painter: Painter,
    layout: Layout,
    files: Sequence[PictureFile],
    output: Path,
    *,
    model: str,
    seed: int,
    batch_size: int,
    rank: int,
    world: int,
    done: Callable[[int], None],
) -> None:
    """Draws the files that are not there, and what lies beside them.

    Files are drawn in batches that depend on nothing but `batch_size`, and rank r of `world` processes takes each world-th
    one. A batch that was begun is drawn again whole and only what is missing is written: a picture's last bits may depend on
    its batch, and so a folder that was finished in several goes, or by several processes, has the same bytes.

    Args:
        batch_size: pictures drawn together.
        done: is told after each batch how many files are finished by it.
    """
    parts = output / PARTS / f"{rank}-{socket.gethostname()}-{os.getpid()}"  # another start may be at work here
    _remove_left_behind(output / PARTS)
    parts.mkdir(parents=True, exist_ok=True)
    for batch in list(batches(files, batch_size))[rank::world]:
        missing = {file.path for file in batch if not (output / file.path).is_file()}
        for file, picture in zip(batch, _drawn(painter, layout, batch, seed), strict=True) if missing else ():
            if file.path in missing:
                picture.save(parts / "part", format="PNG")
                _put(parts / "part", output / file.path)
        for item in {file.item.key: file.item for file in batch}.values():
            for path, beside in layout.companions(item, model):
                if not (output / path).is_file():
                    beside.save(item, parts / "part")
                    _put(parts / "part", output / path)
        done(len(batch))
    shutil.rmtree(parts)
    with contextlib.suppress(OSError):  # another process still has parts there, or was faster
        (output / PARTS).rmdir()


def _remove_left_behind(folder: Path) -> None:
    """What processes of this machine that are gone have left."""
    for left in folder.glob(f"*-{socket.gethostname()}-*"):
        try:
            os.kill(int(left.name.rpartition("-")[2]), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(left, ignore_errors=True)
        except PermissionError:  # it is there, and somebody else's
            continue


def batches(files: Sequence[PictureFile], batch_size: int) -> Iterator[Sequence[PictureFile]]:
    """Neighbours with `batch_size` pictures together, or one file."""
    each = max(1, batch_size // len(files[0].samples)) if files else 1
    for start in range(0, len(files), each):
        yield files[start : start + each]


def _drawn(painter: Painter, layout: Layout, batch: Sequence[PictureFile], seed: int) -> list[Image]:
    prompts = {file.item.key: file.item.prompt() for file in batch}
    keys = [(file.item.key, sample) for file in batch for sample in file.samples]
    pictures = painter.generate([prompts[key] for key, _ in keys], seed, keys)
    each = len(batch[0].samples)
    return [layout.joined(pictures[start : start + each]) for start in range(0, len(pictures), each)]


def _put(part: Path, path: Path) -> None:
    """So that a file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)
