"""Tiny files of our own with the keys of the published ones."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from arr_rpo.types import Outcome, Preference

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)
READING: dict[str, Any] = {
    "image_root": None,
    "strip_prefix": None,
    "swap_seed": None,
    "ties": "keep",
    "on_missing": "error",
}


def save(path: Path, color: tuple[int, int, int]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), color).save(path)
    return str(path)


def encoded(color: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), color).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, data: object) -> str:
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)


def color_of(image: Image.Image) -> tuple[int, ...]:
    assert image.mode == "RGB"
    pixel = image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def red_is_better(pair: Preference) -> bool:
    """Whether the label points to the red image, wherever it stands."""
    return color_of(pair.a if pair.better is Outcome.A else pair.b) == RED


def hpdv3_rows(n: int) -> list[dict[str, Any]]:
    row = {"path1": "images/red.png", "path2": "images/blue.png", "choice_dist": [4, 1]}
    return [{**row, "prompt": f"prompt {i}", "confidence": None if i % 2 else 0.9} for i in range(n)]
