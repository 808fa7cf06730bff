"""The one reader of pictures: whatever a file holds, a policy and a judge see 8-bit RGB, upright, on white paper."""

from __future__ import annotations

import functools
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from arr_rpo.types import UserError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # Pillow knows more, and starts programs for some
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error)  # what Pillow's decoders raise of broken files
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
WHITE_16_BIT = 65535


@dataclass(frozen=True)
class Sides:
    """Pixels that the sides of a picture may have."""

    least: int
    most: int

    def fitted(self, image: Image.Image, what: str) -> Image.Image:
        """The picture, scaled down until its longer side fits.

        Raises:
            UserError: its shorter side is too small, by itself or once the longer one fits.
        """
        width, height = image.size
        image.thumbnail((self.most, self.most), Image.Resampling.LANCZOS)
        if min(image.size) < self.least:
            scaled = "" if image.size == (width, height) else f", scaled to {image.width} x {image.height} of them"
            raise UserError(
                f"{what} has {width} x {height} pixels{scaled}: a side must have {self.least} at least. Crop or enlarge it, or "
                "take it out of the file"
            )
        return image


def load_picture(path: str | Path) -> Image.Image:
    """The picture of a file in RGB: turned as its EXIF says, on white where it is transparent, 16 bits scaled to 8.

    Raises:
        UserError: there is no such file, it is empty, broken or no picture, or it has more than `PIL.Image.MAX_IMAGE_PIXELS`
            pixels. The message names the file and the fix.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no picture {path}: give the path of an image file")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes). Fetch it again.")
    with path.open("rb") as file:
        return read_picture(file, str(path))


def read_picture(file: BinaryIO, what: str) -> Image.Image:
    """As `load_picture`, from an open file; `what` is its name in errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=_formats())
        with image:
            return _rgb(ImageOps.exif_transpose(image))
    except TOO_LARGE as error:
        raise UserError(f"{what} is too large ({error}). Scale it down.") from error
    except UNREADABLE as error:
        raise UserError(f"{what} cannot be read as an image ({error}). Fetch it again, or save it as PNG or JPEG.") from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are 32-bit fractions of unknown range")
    if image.mode.startswith("I"):  # Pillow's own conversion clips: all above 255 would be white
        image = _from_16_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey values 0 to 65535 scaled to 0 to 255; the one that is marked as transparent becomes white."""
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > WHITE_16_BIT:
        raise ValueError(f"its grey values go from {grey.min()} to {grey.max()}, beyond 16 bits")
    if isinstance(clear := image.info.get("transparency"), int):
        grey[grey == clear] = WHITE_16_BIT
    return Image.fromarray(np.round(grey / 257).astype(np.uint8))
