"""The hash of a large model's weights, taken once a machine: of 16 GB it takes each of eight processes half a minute."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from arr_rpo.whole_files import write_text

SMALL = 2**28  # bytes that are hashed in less time than it takes to look
KEPT = Path("~/.cache/arr_rpo/revisions")


def hashed_once(folder: Path, what: str, compute: Callable[[], str]) -> str:
    """`compute()`, or what it once gave for the same weight files (by name, size and time of change) in `folder`.

    what: whatever else the hash depends on. Processes that ask at once wait for the first one. Where nothing can be kept, each
    computes.
    """
    files = sorted((str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.glob("*.safetensors"))
    if sum(size for _, size, _ in files) < SMALL:
        return compute()
    key = hashlib.blake2b(json.dumps([files, what]).encode(), digest_size=16).hexdigest()
    path = KEPT.expanduser() / key
    with contextlib.suppress(OSError), _alone(path.with_suffix(".lock")):
        if not path.is_file():
            write_text(path, compute())
        return path.read_text(encoding="utf-8")
    return compute()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
