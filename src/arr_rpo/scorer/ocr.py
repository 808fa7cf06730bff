"""Whether a picture says what the prompt asks it to say, by a reader of text that runs on the CPU."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from arr_rpo.scorer.base import Scorer
from arr_rpo.types import Grade, Prompt, UserError

QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”|«([^»]+)»')


class OcrScorer(Scorer):
    """1 - d / n: n letters of the text that the prompt has in quotation marks, d the fewest insertions, deletions and exchanges
    that make it of what is read, at most n, without regard to case and spaces (the OCR reward of Flow-GRPO, arXiv 2505.05470).
    Where the whole text is read somewhere in the picture, d is 0.

    A prompt without quotation marks has no score. The reader is PP-OCRv4, whose weights lie in the package
    `rapidocr-onnxruntime`.

    column: of the prompt file, that has the text where the prompt does not quote it; None reads quotation marks alone.
    """

    def __init__(self, *, column: str | None) -> None:
        self.column, self._reader = column, reader()

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        return [self._grade(prompt, image) for prompt, image in zip(prompts, images, strict=True)]

    def _grade(self, prompt: Prompt, image: Image) -> Grade:
        wanted = self.wanted(prompt)
        if not wanted.strip():
            column = f", nor in its column {self.column!r}" if self.column else ""
            return Grade(None, reason=f"the prompt asks for no text: it has none in quotation marks{column}")
        read = self.read(image)
        return Grade(similarity(wanted, read), reason=f"read: {read!r}")

    def wanted(self, prompt: Prompt) -> str:
        """The text that a picture of the prompt should say, or ""."""
        given = prompt.metadata.get(self.column) if self.column else None
        found = [next(filter(None, groups)) for groups in QUOTED.findall(prompt.text)]
        number = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
        return str(given) if number or isinstance(given, str) else " ".join(found)

    def read(self, image: Image) -> str:
        """All text of a picture, in the reader's order."""
        lines, _ = self._reader(np.asarray(image.convert("RGB"))[:, :, ::-1])
        return " ".join(line for _, line, _ in lines or ())


def similarity(wanted: str, read: str) -> float:
    """See `OcrScorer`."""
    from rapidfuzz.distance import Levenshtein

    a, b = (re.sub(r"\s", "", text).lower() for text in (wanted, read))
    distance = 0 if a in b else min(Levenshtein.distance(a, b), len(a))
    return 1 - distance / len(a)


@functools.cache
def reader() -> Any:
    """The one of this process.

    Raises:
        UserError: the packages are not there.
    """
    try:
        import rapidfuzz  # noqa: F401
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        raise UserError(f"the score ocr wants a reader of text ({error}): `pip install -e '.[ocr]'`") from error
    return RapidOCR()
