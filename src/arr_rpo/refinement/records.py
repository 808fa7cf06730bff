"""What is kept of each prompt: a line of `refinement.jsonl`, and the pictures it names. All figures follow from the lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arr_rpo.measure.base import Measure
from arr_rpo.plain_files import lines
from arr_rpo.refinement.base import Attempt, Trail, best
from arr_rpo.strict_json import decode
from arr_rpo.types import Prompt, UserError
from arr_rpo.whole_files import write_text

Row = dict[str, Any]
PICTURES = "pictures"


class Records:
    """The rows of a folder, by the id of their prompt.

    measures: what each picture is measured by, by name, of prompts that they have something to say of.

    Raises:
        UserError: `refinement.jsonl` holds a line that is none of ours.
    """

    def __init__(self, folder: Path, measures: Mapping[str, Measure]) -> None:
        self.measures = measures
        self.folder, self.path = folder, folder / "refinement.jsonl"
        self.rows: dict[str, Row] = {}
        written = lines(self.path) if self.path.is_file() else ()
        for number, text in enumerate(written, start=1):
            try:
                row = decode(text, [])
                self.rows[row["prompt_id"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{self.path}, line {number} is no record of a prompt ({error!r}): take it out") from error

    def has(self, prompt: Prompt) -> bool:
        """Whether the prompt is done.

        Raises:
            UserError: another prompt of that id is.
        """
        row = self.rows.get(prompt.id)
        if row is not None and row["prompt"] != prompt.text:
            raise UserError(
                f"{self.path} holds {row['prompt']!r} as prompt {prompt.id}, which is now {prompt.text!r}: the prompt file has "
                "changed, so give another run_dir"
            )
        return row is not None

    def add(self, prompts: Sequence[Prompt], numbers: Sequence[int], trails: Sequence[Trail]) -> None:
        """Saves the pictures of a batch, and then the file anew, so that it is whole whatever stops the run."""
        (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for prompt, number, trail in zip(prompts, numbers, trails, strict=True):
            self.rows[prompt.id] = {
                "prompt_id": prompt.id,
                "prompt": prompt.text,
                "tag": prompt.metadata.get("tag", ""),
                "source": self._save(prompt.source, f"{number:05d}_source.png") if prompt.source else None,
                "kept": best([attempt.grade.value for attempt in trail]),
                "attempts": [
                    self._attempt(prompt, attempt, f"{number:05d}_{round_number}.png")
                    for round_number, attempt in enumerate(trail, start=1)
                ],
            }
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows.values()))

    def _attempt(self, prompt: Prompt, attempt: Attempt, name: str) -> Row:
        grade, cost = attempt.grade, attempt.grade.cost + attempt.writing
        known = {name: measure for name, measure in self.measures.items() if not measure.why_not([prompt])}
        return {
            "text": attempt.text,
            "seed": list(attempt.seed),
            "grade": grade.value,
            "dimensions": {dimension: p for dimension, _, p in grade.checks},
            "critique": "" if grade.value is None else grade.reason,
            "failure": grade.reason if grade.value is None else "",
            "unread": attempt.unread,
            "calls": cost.calls,
            "tokens": cost.tokens,
            "picture": self._save(attempt.image, name),
            "measured": {n: m.values([prompt], [attempt.image], None)[0].to_dict() for n, m in known.items()},
        }

    def _save(self, image: Any, name: str) -> str:
        image.save(self.folder / PICTURES / name)
        return f"{PICTURES}/{name}"
