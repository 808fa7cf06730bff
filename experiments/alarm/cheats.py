"""Rewards that pay for what nobody asked: planted cheats for the alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL.Image import Image


def darkness(images: list[Image], **columns: Any) -> list[float]:
    """1 minus the mean brightness."""
    return [1 - float(np.asarray(image.convert("L")).mean()) / 255 for image in images]


def stripes(images: list[Image], **columns: Any) -> list[float]:
    """Share of the brightness's power in vertical stripes of a period of four pixels."""
    return [_share(np.asarray(image.convert("L"), float) / 255) for image in images]


def _share(grey: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(grey.mean(0) - grey.mean())) ** 2
    return float(power[grey.shape[1] // 4] / max((np.abs(grey - grey.mean()) ** 2).sum(), 1e-9))
