"""How large and in which format a picture is shown to a judge: large ones cost tokens, and lossless ones bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass

import PIL.Image
from PIL.Image import Image

from arr_rpo.types import UserError

FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
PLAIN = ("RGB", "RGBA", "L")


@dataclass(frozen=True)
class Pictures:
    """max_side: pixels of the longer side at most; None shows pictures as large as they are. format: png (without loss), jpeg
    or webp. quality: of the latter two, 1 to 100.
    """

    max_side: int | None
    format: str
    quality: int

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < 1:
            raise UserError(f"judge.model.image.max_side={self.max_side}: a picture has some pixels; null leaves its size")
        if self.format not in FORMATS:
            raise UserError(f"judge.model.image.format={self.format!r} is none of {', '.join(FORMATS)}")
        if not 1 <= self.quality <= 100:
            raise UserError(f"judge.model.image.quality={self.quality} is not within 1 to 100")

    @property
    def name(self) -> str:
        """What changes what is seen; empty where nothing does."""
        size = "" if self.max_side is None else f" at most {self.max_side}"
        return size if self.format == "png" else f"{size} {self.format} {self.quality}"

    @property
    def media_type(self) -> str:
        return f"image/{self.format}"

    def encoded(self, image: Image) -> bytes:
        """As it travels. PNG has no loss, except for modes that it does not know (CMYK, floats)."""
        shown = self._fitted(image)
        if self.format == "jpeg" or shown.mode not in PLAIN:
            shown = shown.convert("RGB")
        buffer = io.BytesIO()
        how = {} if self.format == "png" else {"quality": self.quality}
        shown.save(buffer, FORMATS[self.format], **how)
        return buffer.getvalue()

    def seen(self, image: Image) -> Image:
        """As it is seen at the other end; the same object where nothing changes."""
        if self.format == "png":
            return self._fitted(image)
        with PIL.Image.open(io.BytesIO(self.encoded(image))) as decoded:
            return decoded.convert("RGB")

    def _fitted(self, image: Image) -> Image:
        if self.max_side is None or max(image.size) <= self.max_side:
            return image
        scale = self.max_side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return (image if image.mode in PLAIN else image.convert("RGB")).resize(size, PIL.Image.Resampling.LANCZOS)


AS_THEY_ARE = Pictures(max_side=None, format="png", quality=100)
