"""Replies on disk, by content: what was judged once is not asked again, whatever became of the run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from arr_rpo.types import UserError
from arr_rpo.whole_files import write_text

_log = logging.getLogger(__name__)


class ReplyCache:
    """One small file a reply, named by its key. Only what could be read is put here, so it can always be read again.

    A file appears whole or not at all. One that is damaged all the same (a disk's fault, a hand's) is no reply: it is
    named in a warning, and asked for again.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()

    def path(self, key: str) -> Path:
        """Of a key of at least three characters."""
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> str | None:
        """The response kept under `key`, or None.

        Raises:
            UserError: the file is there and the system will not read it.
        """
        path = self.path(key)
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot read {path} of the judge's cache ({error.strerror}): mend it and start again") from None
        except ValueError:
            kept = None
        if not isinstance(kept, dict) or kept.get("key") != key or not isinstance(kept.get("response"), str):
            _log.warning("%s of the judge's cache is damaged: it is asked again", path)
            return None
        return str(kept["response"])

    def put(self, key: str, response: str) -> None:
        """Keeps a response: written beside its place, then put there in one step.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        path = self.path(key)
        try:
            write_text(path, json.dumps({"key": key, "response": response}))
        except OSError as error:
            raise UserError(
                f"cannot keep a reply in {self.folder} ({error.strerror}). What was judged before is whole and stays there: "
                "make room (or set judge.model.cache_dir to another folder) and start again, and only the rest is asked"
            ) from None
