"""The attempts at some prompts side by side, for people to look at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from arr_rpo.data.pictures import load_picture
from arr_rpo.refinement.records import Row

PICTURE, LINE, MARGIN, CHARACTERS, LETTER = 128, 14, 8, 100, 6.5
LINES = 8  # of text beside the pictures


def sheet(rows: Sequence[Row], folder: Path) -> Image.Image:
    """A row a prompt: its source if it is an edit, the pictures with their grades, the kept one marked, then the words."""
    columns = max(len(row["attempts"]) + (row["source"] is not None) for row in rows)
    text_left, height = MARGIN + columns * (PICTURE + MARGIN), PICTURE + LINE + 2 * MARGIN
    page = Image.new("RGB", (text_left + int(CHARACTERS * LETTER), height * len(rows)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for number, row in enumerate(rows):
        top = number * height
        shown = [("source", row["source"], False)] if row["source"] else []
        for place, attempt in enumerate(row["attempts"]):
            grade = "no grade" if attempt["grade"] is None else f"{attempt['grade']:.2f}"
            kept = place == row["kept"]
            shown.append((f"{place + 1}: {grade}{'  (kept)' * kept}", attempt["picture"], kept))
        for column, (title, picture, kept) in enumerate(shown):
            left = MARGIN + column * (PICTURE + MARGIN)
            pen.text((left, top + MARGIN - 4), title, fill="green" if kept else "black", font=font)
            small = load_picture(folder / picture).resize((PICTURE, PICTURE), Image.Resampling.NEAREST)
            page.paste(small, (left, top + MARGIN + LINE))
        for place, text in enumerate(_words(row)):
            pen.text((text_left, top + MARGIN + place * LINE), text, fill="black", font=font)
        pen.line([(0, top + height - 1), (page.width, top + height - 1)], fill="lightgrey")
    return page


def _words(row: Row) -> list[str]:
    """The prompt, what the kept picture was drawn from if that is another text, and what was said of it."""
    kept = row["attempts"][row["kept"]]
    said = [row["prompt"], *([f"drawn from: {kept['text']}"] if kept["text"] != row["prompt"] else [])]
    said.append(kept["critique"] or f"no critique: {kept['failure']}")
    return [piece for text in said for part in text.splitlines() for piece in textwrap.wrap(part, CHARACTERS)][:LINES]
