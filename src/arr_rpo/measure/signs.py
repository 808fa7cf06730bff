"""Signs by which people know pictures of a policy that cheats: stripes and grids, odd colours, blur, sameness.

Numbers of single pictures, without a model. None of them is good or bad by itself: what counts is how far they move from those
of the policy before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL.Image import Image, Resampling

from arr_rpo.measure.base import Measure, Value
from arr_rpo.types import Prompt

SIDE = 256  # pixels of the longer side, above which a picture is scaled down first
THUMBNAIL = 16  # pixels, on which pictures are compared with each other


class Signs(Measure):
    """Figures of each picture, and no value:

    stripes: share of the brightness's spectrum that lies in its one strongest frequency above an eighth of the sampling rate,
        where grids of patches and stripes lie, in percent.
    brightness, saturation: means, 0 to 1. contrast: deviation of the brightness.
    sharpness: mean difference of neighbouring pixels, 0 to 1; it falls with blur.
    """

    def values(self, prompts: Sequence[Prompt], images: Sequence[Image], base: Sequence[Image] | None) -> list[Value]:
        return [Value(None, figures_of(image)) for image in images]


def figures_of(image: Image) -> dict[str, float]:
    """Those of one picture; see `Signs`."""
    picture = image.convert("RGB")
    picture.thumbnail((SIDE, SIDE), Resampling.LANCZOS)
    rgb = np.asarray(picture, np.float64) / 255
    grey = rgb.mean(-1)
    most, least = rgb.max(-1), rgb.min(-1)
    return {
        "stripes": stripes(grey),
        "brightness": float(grey.mean()),
        "saturation": float(np.where(most > 0, (most - least) / np.maximum(most, 1e-9), 0.0).mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2,
    }


def stripes(grey: np.ndarray) -> float:
    """(h, w) brightness -> percent of its power, without the mean, in the one strongest high frequency. A Hann window keeps the
    picture's borders from counting."""
    height, width = grey.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    high = np.maximum(np.abs(np.fft.fftfreq(height))[:, None], np.abs(np.fft.fftfreq(width))[None, :]) >= 1 / 8
    total = power.sum()
    return 0.0 if total < 1e-12 else float(100 * 2 * power[high].max() / total)  # real pictures have each frequency twice


def thumbnail(image: Image) -> np.ndarray:
    """(16, 16, 3), 0 to 1."""
    return np.asarray(image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Resampling.BOX), np.float64) / 255


def group_difference(images: Sequence[Image], group_size: int) -> float:
    """Mean difference of the small copies of neighbours within groups, 0 to 1: how different the candidates of a prompt are."""
    small = [thumbnail(image) for image in images]
    pairs = [(a, b) for start in range(0, len(small), group_size) for a, b in _neighbours(small[start : start + group_size])]
    return float(np.mean([np.abs(a - b).mean() for a, b in pairs])) if pairs else 0.0


def _neighbours(some: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(pairwise(some))
