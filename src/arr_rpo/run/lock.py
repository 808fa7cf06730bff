"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arr_rpo.run.layout import LOCK
from arr_rpo.types import UserError

log = logging.getLogger(__name__)


class OccupiedError(UserError):
    """Another process is at work in the folder."""


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder, until this one leaves it or dies.

    Raises:
        OccupiedError: another process is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OccupiedError(f"{folder}: another process is at work in it; wait for it, or end it") from None
        except OSError as error:
            log.warning("%s: the file system knows no locks (%s); do not start the run twice at once", folder, error)
        yield
