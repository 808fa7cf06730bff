"""Replies on disk, by content: what was judged once is not asked again, whatever became of the run."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from arr_rpo import ranks
from arr_rpo.types import UserError

_log = logging.getLogger(__name__)
FILE, NODE_FILE = "replies.sqlite", "replies-node{}.sqlite"
KEPT = 0.9  # of the size, when the oldest had to go


class ReplyCache:
    """One file of SQLite. Only what could be read is put here, so it can always be read again.

    A file that is damaged (a disk's fault, a hand's) is named in a warning, put aside, and begun anew. The processes of one
    machine share one; each further machine of a run has its own, as SQLite's log cannot be shared over a network. It is used by
    the thread of the client alone.

    max_mb: megabytes of replies; beyond, those put first go first.
    """

    def __init__(self, folder: str | Path, max_mb: float) -> None:
        self.folder = Path(folder).expanduser()
        self.path = self.folder / (NODE_FILE.format(node) if (node := ranks.node()) else FILE)
        self._most = int(max_mb * 1e6)
        self._size = 0
        self._base: sqlite3.Connection | None = None
        self._opened = 0  # inode of the file

    def get(self, key: str) -> str | None:
        """The response kept under `key`, or None.

        Raises:
            UserError: the file is there and the system will not read it.
        """
        if self._base is None and not self.path.is_file():
            return None
        try:
            row = self._open().execute("SELECT response FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.OperationalError as error:
            raise UserError(f"cannot read {self.path} of the judge's cache ({error}): mend it and start again") from None
        except sqlite3.DatabaseError as error:
            self._put_aside(error)
            return None
        return row[0] if row and isinstance(row[0], str) else None

    def put(self, key: str, response: str) -> None:
        """Keeps a response.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        try:
            self._put(key, response)
        except sqlite3.OperationalError as error:
            raise self._unkept(error) from None
        except sqlite3.DatabaseError as error:
            self._put_aside(error)
            self._put(key, response)
        except OSError as error:
            raise self._unkept(error.strerror) from None

    def close(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def _put(self, key: str, response: str) -> None:
        base = self._open()
        with base:
            base.execute("INSERT OR REPLACE INTO replies (key, response) VALUES (?, ?)", (key, response))
            self._size += len(response)
            if self._size > self._most:
                self._let_go(base)

    def _let_go(self, base: sqlite3.Connection) -> None:
        """Of the oldest as many as make room."""
        [self._size] = base.execute("SELECT COALESCE(SUM(LENGTH(response)), 0) FROM replies").fetchone()
        over = self._size - KEPT * self._most
        last = 0
        for row, length in base.execute("SELECT rowid, LENGTH(response) FROM replies ORDER BY rowid"):
            if over <= 0:
                break
            over, last, self._size = over - length, row, self._size - length
        base.execute("DELETE FROM replies WHERE rowid <= ?", (last,))

    def _open(self) -> sqlite3.Connection:
        if self._base is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(self.path, timeout=30.0)
            self._opened = _inode(self.path)
            try:
                base.execute("PRAGMA journal_mode = WAL")
                base.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may cost the last replies, not the file
                base.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT UNIQUE NOT NULL, response TEXT NOT NULL)")
                [self._size] = base.execute("SELECT COALESCE(SUM(LENGTH(response)), 0) FROM replies").fetchone()
            except sqlite3.Error:
                base.close()
                raise
            self._base = base
        return self._base

    def _put_aside(self, error: Exception) -> None:
        """Unless another process has begun a new one since this one was opened."""
        self.close()
        if _inode(self.path) != self._opened:
            return
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        for end in ("-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        self.path.replace(aside)
        _log.warning("%s of the judge's cache is damaged (%s): it lies in %s now", self.path, error, aside)

    def _unkept(self, why: object) -> UserError:
        return UserError(
            f"cannot keep a reply in {self.folder} ({why}). What was judged before is whole and stays there: "
            "make room (or set judge.model.cache_dir to another folder) and start again, and only the rest is asked"
        )


def _inode(path: Path) -> int:
    """0 where there is no file."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
