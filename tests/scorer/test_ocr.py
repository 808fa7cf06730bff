"""What a picture says, read for real where the reader is installed, and the distance by hand."""

from __future__ import annotations

import importlib.util

import pytest
from PIL import Image, ImageDraw, ImageFont

from arr_rpo.scorer.ocr import OcrScorer, similarity
from arr_rpo.types import Prompt, UserError

READS = importlib.util.find_spec("rapidocr_onnxruntime") is not None and importlib.util.find_spec("rapidfuzz") is not None
needs_reader = pytest.mark.skipif(not READS, reason="no reader of text here: pip install -e '.[ocr]'")
SIGN = Prompt("a", 'a sign that says "Open House", by a road')


def picture(text: str) -> Image.Image:
    image = Image.new("RGB", (512, 256), "white")
    ImageDraw.Draw(image).text((40, 90), text, fill="black", font=ImageFont.load_default(60))
    return image


@needs_reader
def test_similarity_by_hand() -> None:
    """Nine letters without spaces."""
    assert similarity("Open House", "OPENHOUSE") == 1.0
    assert similarity("Open House", "come in, open house today") == 1.0
    assert similarity("Open House", "Open Hose") == pytest.approx(8 / 9)
    assert similarity("Open House", "") == 0.0
    assert similarity("Open House", "something else altogether") == 0.0  # never below


@needs_reader
def test_rendered_text_is_read() -> None:
    scorer = OcrScorer(column=None)
    whole, less, other, nothing = scorer.score([SIGN] * 4, [picture(t) for t in ("Open House", "Open Hose", "Closed", "")])
    assert (whole.value, nothing.value) == (1.0, 0.0)
    assert whole.reason == "read: 'Open House'"
    assert less.value is not None and other.value is not None
    assert other.value < 0.5 < less.value < 1.0


@needs_reader
def test_where_the_text_stands() -> None:
    scorer = OcrScorer(column="text")
    assert scorer.wanted(SIGN) == "Open House"  # it has no such column
    assert scorer.wanted(Prompt("b", "a shop", {"text": "Bakery"})) == "Bakery"
    assert scorer.wanted(Prompt("b", "a year", {"text": 2024})) == "2024"
    assert scorer.wanted(Prompt("b", "a year", {"text": float("nan")})) == ""
    assert OcrScorer(column=None).wanted(Prompt("c", "“Eins” und «deux»")) == "Eins deux"
    (grade,) = OcrScorer(column=None).score([Prompt("d", "a dog")], [picture("dog")])
    assert grade.value is None and "none in quotation marks" in grade.reason


@pytest.mark.skipif(READS, reason="the reader is there")
def test_without_the_reader() -> None:
    with pytest.raises(UserError, match=r"pip install -e '\.\[ocr\]'"):
        OcrScorer(column=None)
