"""The record of held-out prompts, from measures made by hand."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from arr_rpo.callbacks.heldout_record import HeldoutRecord
from arr_rpo.evaluation.images import Accuracy, Measured, Seen
from arr_rpo.run.folder import RunFolder
from arr_rpo.types import Prompt

WHITE, BLACK = Image.new("RGB", (64, 32), "white"), Image.new("RGB", (64, 32), "black")


def measured(prompt: Prompt, *answers: tuple[str, bool]) -> Measured:
    return Measured(prompt.id, "recolour", answers)


def drawn(picture: Image.Image, each: list[Measured]) -> Seen:
    """With the pictures of the first and the third prompt."""
    return Seen(Accuracy.of(each), {each[n].prompt_id: picture for n in (0, 2)})


def test_rows_and_pictures(tmp_path: Path) -> None:
    prompts = [Prompt(f"edit/{n}", f"edit {n}", {"tag": "recolour"}, WHITE) for n in range(4)]
    folder = RunFolder(tmp_path)
    record = HeldoutRecord(pictures=2, max_side=16)
    bad = [measured(p, ("instruction", False), ("preservation", True), ("preservation", False)) for p in prompts]
    record.add(folder, "before", "heldout", prompts, drawn(WHITE, bad))
    record.write(folder)
    first = [json.loads(line) for line in (tmp_path / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    assert first[1] == {
        "prompt_id": "edit/1",
        "split": "heldout",
        "tag": "recolour",
        "prompt": "edit 1",
        "before": {"strict": False, "criteria": 1 / 3, "parts": {"instruction": 0.0, "preservation": 0.5}},
        "after": None,
        "pictures": {},
    }
    good = [measured(p, ("instruction", True), ("preservation", True)) for p in prompts]
    record.add(folder, "after", "heldout", prompts, drawn(BLACK, good))
    record.write(folder)
    rows = [json.loads(line) for line in (tmp_path / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 4  # written anew, not added to
    assert rows[1]["after"] == {"strict": True, "criteria": 1.0, "parts": {"instruction": 1.0, "preservation": 1.0}}
    assert [bool(row["pictures"]) for row in rows] == [True, False, True, False]
    pictures = {name: Image.open(tmp_path / path) for name, path in rows[2]["pictures"].items()}
    assert {name: (p.size, p.getpixel((0, 0))) for name, p in pictures.items()} == {
        "source": ((16, 8), (255, 255, 255)),
        "base": ((16, 8), (255, 255, 255)),
        "trained": ((16, 8), (0, 0, 0)),
    }
