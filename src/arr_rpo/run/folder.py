"""The folder of a run: the only thing that writes into it, and what it says when it is read again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from arr_rpo.plain_files import lines, read_json
from arr_rpo.run import layout
from arr_rpo.run.layout import Rows, State, by_update, update_of
from arr_rpo.strict_json import decode
from arr_rpo.types import UserError
from arr_rpo.whole_files import flush, write_json, write_text

if TYPE_CHECKING:
    from torch import Tensor

PART = ".part"
# Not a disk's word, but that of something that is gone, or in the way. What torch says of a full one has no number.
NO_DISK = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


class RunFolder:
    """Files appear whole or not at all, rows are on the disk when `add` returns, and a full disk ends in one message.

    Args:
        writes: False makes every method that writes do nothing: of several processes of a run, one writes.
    """

    def __init__(self, path: Path | str, *, writes: bool = True) -> None:
        self.path, self.writes = Path(path), writes

    # -- the run as a whole ------------------------------------------------------------------------------------------------

    def begin(self, config: str, versions: Mapping[str, Any], update: int) -> None:
        """What is run from `update` on. Nothing of a former end is touched before this: until here the start may still fail."""
        self.text(layout.CONFIG, config)
        self.json(layout.VERSIONS, versions)
        self._remove(self.path / layout.SUMMARY)
        self._cut_back(update)
        self.say(State.RUNNING, update)

    def say(self, state: State, update: int | None = None, **more: Any) -> None:
        """Says how the run stands, after `update` updates (None leaves that number as it is)."""
        known = self.state()
        self.json(layout.STATE, {"state": state, "update": known.get("update", 0) if update is None else update, **more})

    def state(self) -> dict[str, Any]:
        """What the run said last; empty where it said nothing that can be read."""
        return self._json(layout.STATE) or {}

    def finished(self) -> bool:
        return self.state().get("state") == State.FINISHED

    def summary(self) -> dict[str, Any] | None:
        """What a finished run came to; None of any other."""
        return self._json(layout.SUMMARY) if self.finished() else None

    def trackers(self) -> dict[str, Any]:
        """By which ids trackers know the run, by the name of the logger."""
        return self._json(layout.TRACKERS) or {}

    def _cut_back(self, update: int) -> None:
        """Removes what a former start wrote after `update` updates: it will be written again."""
        if not self.writes:
            return
        for kind in (Rows.METRICS, Rows.PROGRESS, Rows.VERDICTS, Rows.ALARMS):
            self._cut_rows(self.path / kind, update)
        for folder in (layout.GRIDS, layout.VERDICT_PICTURES, layout.ALARM_PICTURES, layout.SKIPPED):
            for path in (self.path / folder).glob("update_*"):
                if (update_of(path.name) or 0) >= update:
                    self._remove(path)
        for path in (self.path / layout.CHECKPOINTS).glob(f".*{PART}"):
            self._remove(path)
        for number, path in self.checkpoints().items():
            if number > update:  # of a way that is not gone on with; kept, out of the way
                aside = path.with_name(f"abandoned_{path.name}")
                self._remove(aside)  # of a way before that one
                path.rename(aside)
        if (best := self.best()) is not None and best > update:
            self._remove(self.path / layout.CHECKPOINTS / layout.BEST)

    def _cut_rows(self, path: Path, update: int) -> None:
        if path.is_file():
            kept = [line for line in lines(path) if (row := _row(line)) and _of_before(row, update)]
            with self._full_disk(path):
                write_text(path, "".join(line.decode().rstrip("\n") + "\n" for line in kept))

    # -- files -------------------------------------------------------------------------------------------------------------

    def text(self, name: str, text: str) -> None:
        if self.writes:
            with self._full_disk(self.path / name):
                write_text(self.path / name, text)

    def json(self, name: str, data: Any) -> None:
        if self.writes:
            with self._full_disk(self.path / name):
                write_json(self.path / name, data)

    def add(self, kind: Rows, update: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends the rows of one update."""
        if not self.writes:
            return
        lines = "".join(json.dumps({"update": update, **row}) + "\n" for row in rows)
        path = self.path / kind
        with self._full_disk(path), path.open("a", encoding="utf-8") as file:
            file.write(lines)
            flush(file)

    def replace(self, kind: Rows, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes the whole file of rows anew."""
        self.text(kind, "".join(json.dumps(row) + "\n" for row in rows))

    def rows(self, kind: Rows) -> list[dict[str, Any]]:
        """Those that are whole."""
        path = self.path / kind
        return [row for line in lines(path) if (row := _row(line)) is not None] if path.is_file() else []

    def picture(self, name: str, image: Image.Image, max_side: int | None = None) -> str:
        """Saves a PNG under `name`, a path in the folder, which it returns; scaled down where a side is above `max_side`."""
        if self.writes:
            small = image.convert("RGB")
            if max_side is not None:
                small.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._full_disk(path):
                small.save(path)
        return name

    def tensors(self, name: str, tensors: Mapping[str, Tensor], words: Mapping[str, str]) -> None:
        """Saves tensors, with some words in the file's header."""
        if self.writes:
            from safetensors.torch import save_file

            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            with self._full_disk(self.path / name):
                save_file({key: t.detach().contiguous().cpu() for key, t in tensors.items()}, self.path / name, dict(words))

    @contextlib.contextmanager
    def whole(self, name: str) -> Iterator[Path]:
        """A folder to save into, which takes the place of the folder `name` when the block ends well; a process that does not
        write leaves it alone."""
        target = self.path / name
        if not self.writes:
            yield target
            return
        beside = target.with_name(f".{target.name}{PART}")
        try:
            with self._full_disk(target):
                self._remove(beside)
                beside.mkdir(parents=True)
                yield beside
                _flush_all(beside)
                self._remove(target)
                beside.rename(target)
        finally:
            self._remove(beside)

    # -- checkpoints -------------------------------------------------------------------------------------------------------

    def checkpoints(self) -> dict[int, Path]:
        """Updates done -> folder, in rising order."""
        found = {update_of(path.name): path for path in (self.path / layout.CHECKPOINTS).glob("update_*")}
        return {number: found[number] for number in sorted(n for n in found if n is not None)}

    def checkpoint(self, which: str | int = "last") -> Path:
        """The folder of a checkpoint: "last", "best", or the one after so many updates.

        Raises:
            UserError: there is none; the message names those that are there.
        """
        known = self.checkpoints()
        number = {"last": max(known, default=None), "best": self.best()}.get(str(which), which)
        if number is None or not str(number).isdigit() or int(number) not in known:
            there = f"there are those after {', '.join(map(str, known))} updates" if known else "there is none"
            why = "; the best is chosen by the first measure, and nothing was measured" if which == "best" and known else ""
            raise UserError(f"{self.path / layout.CHECKPOINTS}: no checkpoint {which!r}; {there}{why}")
        return known[int(number)]

    def best(self) -> int | None:
        """Updates done at the best checkpoint."""
        update = self._best().get("update")
        return update if isinstance(update, int) else None

    def best_value(self) -> float | None:
        """What the run's own measure said of it."""
        value = self._best().get("value")
        return float(value) if isinstance(value, int | float) else None

    def save_checkpoint(self, update: int, write: Callable[[Path], None] | None, keep_every: int | None) -> None:
        """Makes the checkpoint after `update` updates, whole, by `write(folder)`, unless that is None since it is there; then
        removes those that need not stay: all but the last, the best, and each `keep_every`-th. All processes take part in
        `write`.

        Raises:
            UserError: it could not be written; the ones before are untouched.
        """
        if write is not None:
            with self.whole(f"{layout.CHECKPOINTS}/{by_update(update)}") as folder:
                write(folder)
        self.prune(keep_every)

    def mark_best(self, update: int, value: float, measure: str) -> None:
        self.json(f"{layout.CHECKPOINTS}/{layout.BEST}", {"update": update, "value": value, "measure": measure})

    def prune(self, keep_every: int | None) -> None:
        """Removes the checkpoints that need not stay."""
        if not self.writes:
            return
        known = self.checkpoints()
        kept = {max(known, default=0), self.best()}
        for number, path in known.items():
            if number not in kept and not (keep_every and number and number % keep_every == 0):
                self._remove(path)

    # -- helpers -----------------------------------------------------------------------------------------------------------

    def _best(self) -> dict[str, Any]:
        return self._json(f"{layout.CHECKPOINTS}/{layout.BEST}") or {}

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            found = read_json(self.path / name)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _remove(self, path: Path) -> None:
        if not self.writes:
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _full_disk(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in NO_DISK:
                raise
            mend = "give a folder that can be written" if error.errno in NOT_OURS else "make space"
            raise UserError(
                f"{path} could not be written ({error.strerror or error}). Nothing that was there is lost: {mend}, and "
                f"resume={self.path} goes on from the last checkpoint (of a run of train.py; start another command again)."
            ) from error


def _row(line: bytes) -> dict[str, Any] | None:
    """A line that is whole; None of one that a kill cut off."""
    try:
        row = decode(line, [])
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _of_before(row: Mapping[str, Any], update: int) -> bool:
    written = row.get("update", 0)
    return isinstance(written, int) and written < update


def _flush_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
