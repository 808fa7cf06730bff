"""The texts a judge is asked with: one folder of text files per style of model, filled with `str.format`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from arr_rpo.types import Rubric, UserError

FOLDER = Path(__file__).parent / "wordings"
ROLES = ("describe", "label", "check", "score", "compare", "compare_rubric", "write")


class Wording:
    """The texts of one style (`shapes` for the embedded judge, `default` for large models, or a folder of yours)."""

    def __init__(self, style: str | Path) -> None:
        folder = FOLDER / style if (FOLDER / style).is_dir() else Path(style)
        missing = [role for role in ROLES if not (folder / f"{role}.txt").is_file()]
        if missing:
            known = sorted(p.name for p in FOLDER.iterdir() if p.is_dir())
            raise UserError(
                f"judge wording {str(style)!r}: {', '.join(f'{m}.txt' for m in missing)} not found in {folder}. "
                f"Use one of {known}, or a folder with {', '.join(f'{r}.txt' for r in ROLES)}."
            )
        self._texts: Mapping[str, str] = {r: (folder / f"{r}.txt").read_text(encoding="utf-8").rstrip("\n") for r in ROLES}

    def __call__(self, role: str, **fields: str) -> str:
        return self._texts[role].format(**fields)

    def digest(self, role: str) -> str:
        """Hash of a role's text: what is asked is part of an answer's identity."""
        return hashlib.sha256(self._texts[role].encode()).hexdigest()[:16]


def render(rubric: Rubric | Sequence[str]) -> str:
    """The criteria as a numbered list, one a line."""
    questions = [c.question for c in rubric.criteria] if isinstance(rubric, Rubric) else rubric
    return "\n".join(f"{number}. {question}" for number, question in enumerate(questions, start=1))
