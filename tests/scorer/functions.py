"""Functions that score, as a user would write them."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL.Image import Image


def brightness(images: list[Image], **columns: Any) -> list[float]:
    return [float(np.asarray(image.convert("L")).mean()) / 255 for image in images]


def length_of_prompt(prompts: list[str]) -> Any:
    return np.array([len(prompt) for prompt in prompts])


def picky(images: list[Image], metadata: list[dict[str, Any]]) -> list[float | None]:
    return [float("nan") if row.get("bad") else None for row in metadata]


def too_few(images: list[Image]) -> list[float]:
    return [1.0]


def words(images: list[Image]) -> list[str]:
    return ["good"] * len(images)


def strange(pictures: list[Image]) -> list[float]:
    return []


def always(images: list[Image]) -> list[float]:
    return [1.0] * len(images)


def told() -> float:
    """What a test says."""
    return 0.0


def as_told(images: list[Image]) -> list[float]:
    return [told()] * len(images)
