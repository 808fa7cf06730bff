"""Pictures inside of a page: each once, as a data URI, as large as the page's budget allows."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from arr_rpo.plain_files import read_bytes

MOST_BYTES = 64 * 2**20  # of a picture's file
PIXEL_ART = 96  # pixels: up to this side a picture is kept exactly, if all fit
SMALLER = (1.0, 0.75, 0.5, 0.375, 0.25)  # of the largest side
SAMPLE = 40  # pictures by which the size of all is estimated

Encoded = dict[str, str | int]  # src, width, height


class Album:
    """The pictures of one page. side: pixels of the longer side at most. budget: characters that they may take together."""

    def __init__(self, side: int, budget: float) -> None:
        self.side, self.budget = side, budget
        self._images: list[Image.Image] = []
        self._known: dict[str, int] = {}

    def add(self, path: Path) -> int | None:
        """The picture's number in this page; None of a file that is no whole picture."""
        try:
            content = read_bytes(path, MOST_BYTES)
            name = hashlib.sha256(content).hexdigest()
            if name not in self._known:
                self._images.append(self._opened(content))
                self._known[name] = len(self._images) - 1
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError):
            return None
        return self._known[name]

    def encoded(self) -> list[Encoded]:
        """All of them, in the first form that a sample says will fit: exact where small, then smaller and smaller."""
        forms = [(self.side, PIXEL_ART), *((round(self.side * share), 0) for share in SMALLER)]
        some = self._images[:: max(1, len(self._images) // SAMPLE)]
        fitting = (form for form in forms if self._mean_size(some, *form) * len(self._images) <= self.budget)
        form = next(fitting, forms[-1])
        return [encode(image, *form) for image in self._images]

    def _opened(self, content: bytes) -> Image.Image:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:  # what runs write; others start programs, or worse
            image = opened.convert("RGB")
        image.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        return image

    @staticmethod
    def _mean_size(images: Sequence[Image.Image], side: int, exact: int) -> float:
        return sum(len(str(encode(image, side, exact)["src"])) for image in images) / max(1, len(images))


def encode(image: Image.Image, side: int, exact: int) -> Encoded:
    """As WebP: without loss up to `exact` pixels, scaled to `side` beyond it."""
    lossless = max(image.size) <= exact
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "WEBP", lossless=lossless, quality=75, method=2)
    source = f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"
    return {"src": source, "width": image.width, "height": image.height}
