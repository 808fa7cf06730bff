"""A content-addressed folder of rubrics: the key is who wrote it, from which text, for which prompt."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from arr_rpo.rubric.parse import RubricError, parse_rubric, to_json
from arr_rpo.types import Rubric, UserError


class RubricStore:
    """JSON files, readable and editable; an edited file is used as it stands."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @staticmethod
    def key(provenance: Mapping[str, str]) -> str:
        return hashlib.sha256(json.dumps(dict(provenance), sort_keys=True).encode()).hexdigest()[:24]

    def path(self, provenance: Mapping[str, str]) -> Path:
        return self.folder / f"{self.key(provenance)}.json"

    def get(self, provenance: Mapping[str, str]) -> Rubric | None:
        """The stored rubric, or None.

        Raises:
            UserError: the file is there and is no rubric.
        """
        path = self.path(provenance)
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return parse_rubric(json.dumps({"criteria": data["criteria"]}), data["provenance"])
        except (RubricError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{path} holds no rubric ({error}). Mend it, or delete it to have it written again.") from error

    def put(self, rubric: Rubric) -> Path:
        """Writes beside the target and renames, so that a stopped run leaves no half of a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(rubric.provenance)
        with tempfile.NamedTemporaryFile("w", dir=self.folder, suffix=".tmp", delete=False, encoding="utf-8") as file:
            json.dump(to_json(rubric), file, indent=1)
        Path(file.name).replace(path)
        return path
