"""What became of each held-out prompt: a line of `heldout.jsonl`, by which runs are paired, and pictures of a few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from arr_rpo.evaluation.images import Seen
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import HELDOUT_PICTURES, Rows
from arr_rpo.types import Prompt


class HeldoutRecord:
    """Rows {"prompt_id", "split", "tag", "prompt", "before", "after", "pictures"}; `before` and `after` are {"strict": bool,
    "criteria": share, "parts": {name: share}} or null. The same prompts and noise in every run, if its eval_seed is the same.

    Args:
        pictures: prompts of each split whose pictures are kept, at even distances; `max_side` in pixels.
    """

    def __init__(self, pictures: int, max_side: int) -> None:
        self.pictures, self.max_side = pictures, max_side
        self.rows: dict[str, dict[str, Any]] = {}

    def add(
        self,
        folder: RunFolder,
        when: str,
        split: str,
        prompts: Sequence[Prompt],
        drawn: Seen,
    ) -> None:
        """Takes what was measured `when`: "before" or "after" training, and the pictures that were kept."""
        each = drawn.accuracy.each if drawn.accuracy else [None] * len(prompts)
        for prompt, measured in zip(prompts, each, strict=True):
            row = self.rows.setdefault(f"{split} {prompt.id}", _row(split, prompt))
            row[when] = measured.to_dict() if measured else None
            if (image := drawn.kept.get(prompt.id)) is not None:
                number = list(self.rows).index(f"{split} {prompt.id}")
                if prompt.source is not None:
                    row["pictures"]["source"] = self._save(folder, prompt.source, f"{number:04d}_source.png")
                name = {"before": "base", "after": "trained"}[when]
                row["pictures"][name] = self._save(folder, image, f"{number:04d}_{name}.png")

    def write(self, folder: RunFolder) -> None:
        """The whole file anew, so that a run that goes on repeats no line."""
        folder.replace(Rows.HELDOUT, self.rows.values())

    def _save(self, folder: RunFolder, image: Image.Image, name: str) -> str:
        return folder.picture(f"{HELDOUT_PICTURES}/{name}", image, self.max_side)


def _row(split: str, prompt: Prompt) -> dict[str, Any]:
    start = {"prompt_id": prompt.id, "split": split, "tag": prompt.metadata.get("tag", ""), "prompt": prompt.text}
    return {**start, "before": None, "after": None, "pictures": {}}
