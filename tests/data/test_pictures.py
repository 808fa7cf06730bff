"""Pictures as files have them: upright, on white, in 8-bit RGB; and what is said of files that are none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arr_rpo.data import pictures
from arr_rpo.data.pictures import load_picture, read_picture
from arr_rpo.types import UserError

REAL = Path("/work/shared/data/Step1X-Edit/examples")


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_as_exif_says(tmp_path: Path, orientation: int) -> None:
    """A red left half of a picture that is 16 wide and 8 high: where it is when held as the tag says."""
    image = Image.new("RGB", (16, 8), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = load_picture(saved(tmp_path / "a.png", image, exif=exif))
    width, height = opened.size
    edges = {
        "left": (1, height // 2),
        "right": (width - 2, height // 2),
        "top": (width // 2, 1),
        "bottom": (width // 2, height - 2),
    }
    red = {1: "left", 3: "right", 6: "top", 8: "bottom"}[orientation]
    assert (width > height) == (orientation in (1, 3))
    assert opened.getpixel(edges[red]) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_white_and_half_of_it_half(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    image.putpixel((2, 0), (0, 0, 0, 255))
    if mode == "PA":  # a palette with an alpha for each of its colours
        indexed = Image.new("P", (3, 1))
        indexed.putdata([0, 1, 2])
        indexed.putpalette([0] * 9)
        path = saved(tmp_path / "a.png", indexed, transparency=bytes([0, 128, 255]))
    else:
        path = saved(tmp_path / "a.png", image.convert(mode))
    opened = load_picture(path)
    assert opened.mode == "RGB"
    assert [opened.getpixel((x, 0)) for x in range(3)] == [(255,) * 3, (127,) * 3, (0,) * 3]


def test_grey_and_palette_and_black_and_white(tmp_path: Path) -> None:
    grey = load_picture(saved(tmp_path / "grey.png", Image.new("L", (5, 3), 77)))
    assert (grey.mode, grey.size, grey.getpixel((4, 2))) == ("RGB", (5, 3), (77, 77, 77))
    indexed = Image.new("P", (2, 2), 1)
    indexed.putpalette([0, 0, 0, 10, 200, 30])
    assert load_picture(saved(tmp_path / "indexed.gif", indexed)).getpixel((0, 0)) == (10, 200, 30)
    assert load_picture(saved(tmp_path / "one.png", Image.new("1", (2, 2), 1))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    """257 is the step from one of 8 bits to the next: 257 * k must become k."""
    values = np.array([[0, 257, 257 * 128, 65535]], dtype=np.uint16)
    opened = load_picture(saved(tmp_path / f"a.{suffix}", Image.fromarray(values)))
    assert np.asarray(opened)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_16_bits_with_a_transparent_value(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[1000, 257 * 50]], dtype=np.uint16))
    opened = load_picture(saved(tmp_path / "a.png", image, transparency=1000))
    assert np.asarray(opened)[0, :, 0].tolist() == [255, 50]


def test_cmyk(tmp_path: Path) -> None:
    """No ink is white; all cyan has no red."""
    image = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    image.paste((255, 0, 0, 0), (0, 0, 16, 8))
    opened = load_picture(saved(tmp_path / "a.jpg", image, quality=100))
    cyan, white = opened.getpixel((8, 3)), opened.getpixel((8, 12))
    assert cyan[0] < 20
    assert min(cyan[1:]) > 235
    assert min(white) > 235


def test_files_that_are_no_pictures_are_named(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.png", Image.effect_noise((64, 64), 50)).read_bytes()
    for name, content, message in (
        ("empty.png", b"", r"empty\.png is empty \(0 bytes\)"),
        ("cut.png", whole[: len(whole) // 2], r"cut\.png cannot be read as an image \(.+\)\. Fetch it again"),
        ("text.jpg", b"<html>not found</html>", r"text\.jpg cannot be read"),
        ("header.png", whole[:20], r"header\.png cannot be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            load_picture(tmp_path / name)
    with pytest.raises(UserError, match=r"no picture .*gone\.png: give the path"):
        load_picture(tmp_path / "gone.png")
    with pytest.raises(UserError, match="no picture"):
        load_picture(tmp_path)


@pytest.mark.parametrize("limit", [20, 90])  # beyond twice the limit Pillow refuses, between it only warns
def test_too_large_a_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = saved(tmp_path / "huge.png", Image.new("L", (10, 10)))
    load_picture(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UserError, match=r"huge\.png is too large .* Scale it down"):
        load_picture(path)


def test_floats_and_deep_integers_are_refused(tmp_path: Path) -> None:
    for image in (Image.fromarray(np.ones((2, 2), np.float32)), Image.fromarray(np.full((2, 2), 70_000, np.int32))):
        with pytest.raises(UserError, match=r"a\.tif cannot be read .*(unknown range|beyond 16 bits)"):
            load_picture(saved(tmp_path / "a.tif", image))


def test_open_files_are_read_and_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (2, 2), (1, 2, 3)))
    assert read_picture(io.BytesIO(path.read_bytes()), "row 1").getpixel((0, 0)) == (1, 2, 3)
    with pytest.raises(UserError, match="row 2 cannot be read"):
        read_picture(io.BytesIO(b"x"), "row 2")


@pytest.mark.skipif(not REAL.is_dir(), reason="the pictures of Step1X-Edit are not at hand")
def test_the_pictures_of_step1x_edit() -> None:
    sizes = {path.name: load_picture(path).size for path in sorted(REAL.glob("0*"))}
    assert sizes == {
        "0000.jpg": (1024, 1536),
        "0001.png": (1440, 2160),
        "0002.jpg": (850, 1360),
        "0003.png": (681, 975),
        "0004.jpg": (900, 1383),
    }
    assert pictures.load_picture(REAL / "0001.png").mode == "RGB"  # it has an alpha channel
