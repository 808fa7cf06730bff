"""The texts that a model is asked with: one folder of text files per style of model.

A text may hold `{images}` once: what stands before it is said before the images are shown, so that a prompt and its rubric
are a common prefix of all questions about them. `{field!j}` quotes a field as JSON, so that instructions inside it are data; in
all fields `<` is written as JSON writes it, `\\u003c`.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arr_rpo.types import Criterion, Rubric, UserError

FOLDER = Path(__file__).parent / "wordings"
CORE = ("describe", "label", "check", "score", "compare", "compare_rubric", "write")
JUDGING = ("describe", "label", "check", "score", "compare", "compare_rubric", "plan", "critique", "grade")
WRITING = ("write", "write_pair", "write_general", "write_taste", "refine", "structure", "refine_prompt")
ROLES = (*JUDGING, *WRITING)
EDITED = ("source_label", "edited_label")  # said before the source, and before a single edited image
REFERENCE = "reference_label"  # said before each further picture that an edit is given; not every model was taught any
EDITING = (*EDITED, REFERENCE, *ROLES)


class _Fields(string.Formatter):
    """Fields are data: `!j` quotes one as JSON, and none can open or close a tag, or spell a control token."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return str(super().format_field(value, format_spec)).replace("<", "\\u003c")

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return json.dumps(value, ensure_ascii=False) if conversion == "j" else super().convert_field(value, conversion)


class Wording:
    """The texts of one style (`shapes` for the embedded judge, `default` for large models, or a folder of yours). A model
    that was taught no more than some roles has no text for the others, and cannot be asked in them.

    A sub-folder `edit` holds those that differ where an image is an edit of a source.
    """

    def __init__(self, style: str | Path) -> None:
        self.style = str(style)
        self._folder = FOLDER / style if (FOLDER / style).is_dir() else Path(style)
        missing = [role for role in CORE if not (self._folder / f"{role}.txt").is_file()]
        if missing:
            known = sorted(p.name for p in FOLDER.iterdir() if p.is_dir())
            raise UserError(
                f"judge wording {self.style!r}: {', '.join(f'{m}.txt' for m in missing)} not found in {self._folder}. "
                f"Use one of {known}, or a folder with {', '.join(f'{r}.txt' for r in CORE)}."
            )
        self._texts: Mapping[str, str] = {
            r: _text(self._folder / f"{r}.txt") for r in ROLES if (self._folder / f"{r}.txt").is_file()
        }
        edit = self._folder / "edit"
        self._edit = {r: _text(edit / f"{r}.txt") for r in EDITING if (edit / f"{r}.txt").is_file()}
        if missing := [role for role in EDITED if self._edit and role not in self._edit]:
            raise UserError(f"judge wording {self.style!r}: {edit} needs a {missing[0]}.txt, said before an image")

    def __call__(self, role: str, *, edit: bool = False, **fields: str) -> tuple[str, str]:
        """What is said before the images, and after them. A text without images is all after."""
        text = self._template(role, edit)
        if "{images}" not in text:
            return "", _Fields().format(text, **fields)
        before, after = (_Fields().format(part, **fields) for part in text.split("{images}"))
        return before, after

    def say(self, role: str, *, edit: bool = False, **fields: str) -> str:
        """The text of a role that shows no images of its own."""
        return self(role, edit=edit, **fields)[1]

    def labels(self, images: int, edit: bool) -> list[str]:
        """What is said before each of the images that are judged."""
        if images > 1:
            return [self.say("label", letter=letter) for letter in "AB"[:images]]
        return [self.say("edited_label", edit=True) if edit else ""] * images

    def digest(self, role: str) -> str:
        """Hash of a role's texts: what is asked is part of an answer's identity."""
        texts = [self._template(role, False), *(self._edit.get(name, "") for name in (role, *EDITED, REFERENCE))]
        return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]

    def digest_of(self, *roles: str) -> str:
        """Of those of the roles that there are texts for."""
        return "-".join(self.digest(role) for role in roles if role in self._texts)

    def _template(self, role: str, edit: bool) -> str:
        if edit and not self._edit:
            raise UserError(
                f"judge wording {self.style!r} has no texts for editing: add {self._folder / 'edit'}, or use wording=default"
            )
        if edit and role in self._edit:
            return self._edit[role]
        if role not in self._texts:
            having = [p.name for p in sorted(FOLDER.iterdir()) if any(p.rglob(f"{role}.txt"))]
            place = f"{role}.txt" if role in ROLES else f"edit/{role}.txt"
            raise UserError(
                f"judge wording {self.style!r} has no text for the role {role!r}, which its model was not taught: use a judge "
                f"with one of the wordings {', '.join(having)}, or add {place}"
            )
        return self._texts[role]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").rstrip("\n")


def render(rubric: Rubric | Sequence[str]) -> str:
    """The criteria as a numbered list, one a line; those of a structured rubric stand under their themes."""
    criteria = rubric.criteria if isinstance(rubric, Rubric) else [Criterion("", question) for question in rubric]
    lines, theme = [], ""
    for number, criterion in enumerate(criteria, start=1):
        if criterion.theme != theme:
            theme = criterion.theme
            lines.append(f"{theme}:")
        lines.append(f"{number}. {criterion.question}")
    return "\n".join(lines)
