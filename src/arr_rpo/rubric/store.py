"""A content-addressed folder of rubrics: the key is what a rubric was made from and how, and never how well it did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arr_rpo.judge.rubric_reply import RubricError, decode, to_json
from arr_rpo.rubric.files import criteria_digest, read_rubrics
from arr_rpo.types import Rubric
from arr_rpo.whole_files import write_text

Identity = Mapping[str, str]
History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Stored:
    """What became of an identity: its rubric, or None where all that was written for it was discarded."""

    rubric: Rubric | None


class RubricStore:
    """JSON files, readable and editable; an edited file is used as it stands."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @staticmethod
    def key(identity: Identity) -> str:
        return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()[:24]

    def path(self, identity: Identity) -> Path:
        return self.folder / f"{self.key(identity)}.json"

    def get(self, identity: Identity) -> Stored | None:
        """What is stored, or None.

        Raises:
            UserError: the file is there and is no rubric; names file and line.
        """
        path = self.path(identity)
        if not path.is_file():
            return None
        return Stored(None) if is_discarded(path) else Stored(read_rubrics(path)[0])

    def put(self, identity: Identity, rubric: Rubric | None, history: History) -> Path:
        """Stores a rubric, or that there is none to be had, with the steps that led there."""
        path = self.path(identity)
        kept = (
            {**to_json(rubric), "digest": criteria_digest(rubric)} if rubric else {"criteria": [], "provenance": dict(identity)}
        )
        text = json.dumps({**kept, "history": list(history)}, indent=1, ensure_ascii=False)
        write_text(path, text)
        return path


def is_discarded(path: Path) -> bool:
    """Whether a store's file says that its rubrics were discarded: it is whole, and has no criteria."""
    try:
        data = decode(path.read_text(encoding="utf-8"))
    except (RubricError, UnicodeDecodeError):
        return False
    return isinstance(data, dict) and data.get("criteria") == [] and "history" in data
