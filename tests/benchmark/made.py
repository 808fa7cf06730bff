"""Prompt files with the keys of the benchmarks, written by us, and a painter that needs no model."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from arr_rpo.noise import Name
from arr_rpo.types import Prompt

SIZE = (12, 8)
TEXTS = ("a red circle", "two blue stars", "a green square")


class Painter:
    """Its pictures depend on seed and key, and on the whole batch, as those of a GPU may in their last bits."""

    def __init__(self, stop_at: int = -1) -> None:
        self.calls, self.stop_at = 0, stop_at

    def generate(self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[Name, ...]]) -> list[Image.Image]:
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        self.calls += 1
        batch = repr((seed, [prompt.text for prompt in prompts], keys))
        return [_noise(f"{batch} {key}") for key in keys]


def _noise(name: str) -> Image.Image:
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
    return Image.fromarray(rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8))


def geneval(folder: Path) -> Path:
    rows = [{"tag": "single_object", "include": [{"class": "circle", "count": 1}], "prompt": text} for text in TEXTS]
    return _write(folder / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def dpg(folder: Path) -> Path:
    for name, text in zip(("7", "COCOval0001", "posescript1"), TEXTS, strict=True):
        _write(folder / "dpg" / f"{name}.txt", text)
    return folder / "dpg"


def t2i_compbench(folder: Path) -> Path:
    return _write(folder / "color_val.txt", "\n".join(TEXTS))


def unigenbench(folder: Path) -> Path:
    path = folder / "test_prompts_en.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "prompt_en", "sub_dims_en"])
        for number, text in enumerate(TEXTS):
            points = {"Testpoints": ["Style", "Attribute - Color"], "Testpoint Description": ["flat, drawn", text]}
            writer.writerow([number + 10, text, json.dumps(points)])
    return path


def tiif(folder: Path) -> Path:
    for kind in ("color", "2d_spatial_relation"):
        rows = [{"type": kind, "short_description": text, "long_description": f"there is {text}"} for text in TEXTS]
        _write(folder / "tiif" / f"{kind}_prompts.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder / "tiif"


def gedit(folder: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(TEXTS):
        source(folder / f"{number}.png", number)
        kind = "color_alter" if number else "style_change"
        rows.append({"key": f"k{number}", "task_type": kind, "instruction": f"draw {text}", "instruction_language": "en"})
        rows[-1]["input_image"] = f"{number}.png"
    return _write(folder / "gedit.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def imgedit(folder: Path) -> Path:
    source(folder / "originals" / "animal" / "1.png", 1)
    row = {"id": "animal/1.png", "prompt": "make it red", "edit_type": "color_alter"}
    return _write(folder / "basic_edit.json", json.dumps({"1007": row, "1008": {**row, "edit_type": "style"}}))


def source(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (10 + number, 6), (0, 0, 40 * number)).save(path)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
