"""Figures of pictures that were made to have them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from arr_rpo.measure.signs import Signs, figures_of, group_difference, stripes
from arr_rpo.types import Prompt


def picture(seed: int = 0, side: int = 64) -> Image.Image:
    """Blobs, as natural pictures have them: most of their power lies in low frequencies."""
    noise = np.random.default_rng(seed).uniform(0, 255, (side, side, 3)).astype(np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(6))


def with_stripes(image: Image.Image, period: int, height: float) -> Image.Image:
    wave = height * np.sign(np.sin(2 * np.pi * (np.arange(image.width) + 0.5) / period))
    return Image.fromarray(np.clip(np.asarray(image, float) + wave[None, :, None], 0, 255).astype(np.uint8))


@pytest.mark.parametrize("period", [2, 4, 8])
def test_stripes_of_a_patch_stand_out(period: int) -> None:
    plain = figures_of(picture())["stripes"]
    assert plain < 2
    assert figures_of(with_stripes(picture(), period, 12))["stripes"] > 30 * max(plain, 0.5)


def test_a_flat_picture_has_none() -> None:
    assert stripes(np.full((8, 8), 0.5)) == 0.0


def test_colours_by_hand() -> None:
    found = figures_of(Image.new("RGB", (8, 8), (255, 0, 0)))
    assert (found["saturation"], found["brightness"], found["contrast"]) == (1.0, pytest.approx(1 / 3), 0.0)
    assert figures_of(Image.new("RGB", (8, 8), (9, 9, 9)))["saturation"] == 0.0
    half = Image.new("L", (8, 8), 0)
    half.paste(255, (4, 0, 8, 8))
    assert figures_of(half)["contrast"] == pytest.approx(0.5)
    assert figures_of(half)["sharpness"] == pytest.approx((1 / 7 + 0) / 2)  # one of seven steps to the right is one of 1


def test_blur_lowers_sharpness() -> None:
    sharp = with_stripes(picture(), 4, 40)
    assert figures_of(sharp.filter(ImageFilter.GaussianBlur(3)))["sharpness"] < 0.5 * figures_of(sharp)["sharpness"]


def test_a_measure_without_values() -> None:
    (value,) = Signs().values([Prompt("p", "a")], [picture()], None)
    assert value.value is None and set(value.figures) == {"stripes", "brightness", "saturation", "contrast", "sharpness"}


def test_how_different_the_candidates_of_a_prompt_are() -> None:
    black, white = Image.new("RGB", (32, 32), "black"), Image.new("RGB", (32, 32), "white")
    assert group_difference([black, white, black, black], 2) == pytest.approx(0.5)  # 1 in the first group, 0 in the second
    assert group_difference([black, white], 1) == 0.0
