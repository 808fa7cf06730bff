"""All traffic of a run on disk, and a run from it without a server: for tests and for finding out what happened."""

from __future__ import annotations

import json
import logging
from collections import defaultdict, deque
from dataclasses import asdict, fields
from pathlib import Path

from arr_rpo.judge.pictures import AS_THEY_ARE
from arr_rpo.judge.server.chat import Request
from arr_rpo.judge.server.traffic import Exchange
from arr_rpo.types import UserError

_log = logging.getLogger(__name__)
FILE = "traffic.jsonl"


class Recorder:
    """Appends every exchange, failed attempts and cached replies included, as a line of `traffic.jsonl`.

    A line has the request's digest and path, the request with the digests of its pictures in their place, and the fields of
    `Exchange`. Every picture is put once into `images/`. No header is written, so no key is.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self._new = True

    def write(self, request: Request, exchange: Exchange) -> None:
        """Appends one exchange.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        line = {"digest": request.digest, "path": request.path, "request": request.redacted, **asdict(exchange)}
        try:
            self._keep_images(request)
            path = self.folder / FILE
            # A run that was killed in the middle of a line must not swallow the first one of its successor.
            broken = self._new and path.exists() and not path.read_bytes().endswith(b"\n")
            with path.open("a", encoding="utf-8") as file:
                file.write(("\n" if broken else "") + json.dumps(line) + "\n")
            self._new = False
        except OSError as error:
            raise UserError(
                f"cannot record the judge's traffic in {self.folder} ({error.strerror}): make room, or set "
                "judge.model.record_dir to another folder or to null, and start again"
            ) from None

    def _keep_images(self, request: Request) -> None:
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        for digest, image in request.images.items():
            path = self.folder / "images" / f"{digest}.png"
            if not path.exists():
                path.write_bytes(AS_THEY_ARE.encoded(image))


class Replay:
    """A transport that answers from a recording. A request gets its recorded exchanges in their order, the last one for good.

    Raises:
        UserError: there is no recording in the folder.
    """

    live = False

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder).expanduser() / FILE
        self.where = f"the recording {self.path}"
        self._exchanges: dict[str, deque[Exchange]] = defaultdict(deque)
        if not self.path.is_file():
            raise UserError(f"judge.model.replay_dir: no {self.path}. Record a run first: judge.model.record_dir={folder}")
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                entry = json.loads(line)
                exchange = Exchange(**{f.name: entry[f.name] for f in fields(Exchange) if f.name in entry})
                self._exchanges[entry["digest"]].append(exchange)
            except (ValueError, KeyError, TypeError, RecursionError):
                _log.warning("line %d of %s is damaged: it is left out", number, self.path)

    async def send(self, request: Request) -> Exchange:
        """See `Transport.send`.

        Raises:
            UserError: this was not asked when the recording was made.
        """
        recorded = self._exchanges.get(request.digest)
        if not recorded:
            raise UserError(
                f"{self.path} has no request {request.digest[:12]} ({request.path}): this run asks something else than the one "
                "that was recorded. Replay it with the same config, prompts and seeds, or record it again"
            )
        return recorded[0] if len(recorded) == 1 else recorded.popleft()

    async def close(self) -> None:
        """See `Transport.close`."""
