"""Prompt files: GenEval's JSONL (`{"tag", "prompt", "include", ...}` a line) or plain text (a prompt a line)."""

from __future__ import annotations

import json
from pathlib import Path

from arr_rpo.types import Prompt, UserError

SHAPES_FOLDER = Path(__file__).parents[1] / "shapes" / "data"


def read_prompts(source: str | Path) -> tuple[Prompt, ...]:
    """The prompts of a file, or of an embedded split ("shapes/train", "shapes/heldout", "shapes/unseen").

    Raises:
        UserError: the file is missing, empty, or a line is malformed; the message names file and line.
    """
    text = str(source)
    path = SHAPES_FOLDER / f"{text.removeprefix('shapes/')}.jsonl" if text.startswith("shapes/") else Path(source)
    if not path.is_file():
        raise UserError(f"no prompt file {path}: give a .jsonl (GenEval) or .txt file, or one of shapes/train|heldout|unseen")
    lines = [(n, line) for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if line.strip()]
    if not lines:
        raise UserError(f"{path} holds no prompts")
    if path.suffix != ".jsonl":
        return tuple(Prompt(f"{path.stem}/{n}", line.strip()) for n, line in lines)
    return tuple(_row(path, n, line) for n, line in lines)


def _row(path: Path, number: int, line: str) -> Prompt:
    try:
        row = json.loads(line)
        text = row.pop("prompt")
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f'{path}, line {number}: expected a JSON object with a "prompt" ({error!r})') from error
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{path}, line {number}: the prompt is empty")
    return Prompt(f"{path.stem}/{number}", text, row)
