"""The pictures of the documentation, from a finished run of the main job: python docs/pictures/make.py <run folder>

first_page.png   held-out prompts before and after, at even distances, and the first decided pair of the last update
grid.png         what the run keeps of a rollout
report.png, tensorboard.png   as Chromium shows them (CHROMIUM=/path/to/it where it is not on the PATH)
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
SIDE, GAP, LINE = 88, 12, 17
PROMPTS = 6
GREY, GREEN, RED = (90, 90, 90), (20, 130, 60), (190, 40, 40)


def main(run: Path) -> None:
    first_page(run).save(HERE / "first_page.png")
    grid = sorted((run / "grids").iterdir())[-1]
    with Image.open(grid) as picture:
        picture.crop((0, 0, picture.width, picture.height // 2)).save(HERE / "grid.png")
    screenshot((run / "report.html").resolve().as_uri(), HERE / "report.png", wait=1)
    with tensorboard(run) as url:
        screenshot(f"{url}#timeseries", HERE / "tensorboard.png", wait=12)


def first_page(run: Path) -> Image.Image:
    """White, as wide as a README; a mark says whether the oracle found all criteria met."""
    rows = [json.loads(line) for line in (run / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    shown = [row for row in rows if row["split"] == "heldout" and {"base", "trained"} <= set(row["pictures"])]
    shown = [shown[number * len(shown) // PROMPTS] for number in range(PROMPTS)]
    left = 96
    sheet = Image.new("RGB", (left + PROMPTS * (SIDE + GAP) + 40, 2 * (SIDE + GAP) + 66 + 148), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for line, (word, kind, when) in enumerate((("before", "base", "before"), ("after", "trained", "after"))):
        top = 8 + line * (SIDE + GAP)
        pen.text((8, top + SIDE // 2 - 8), word, fill="black", font=font)
        for column, row in enumerate(shown):
            x = left + column * (SIDE + GAP)
            paste(sheet, run / row["pictures"][kind], (x, top))
            frame = GREEN if row[when]["shapes"]["value"] else RED
            pen.rectangle((x - 1, top - 1, x + SIDE, top + SIDE), outline=frame, width=2)
    for column, row in enumerate(shown):
        text = "\n".join(wrapped(row["prompt"], SIDE + GAP - 6, ImageFont.load_default(11)))
        top = 8 + 2 * (SIDE + GAP)
        pen.multiline_text((left + column * (SIDE + GAP), top), text, fill=GREY, font=ImageFont.load_default(11), spacing=2)
    verdict(run, sheet, pen, 2 * (SIDE + GAP) + 74)
    return sheet


def verdict(run: Path, sheet: Image.Image, pen: ImageDraw.ImageDraw, top: int) -> None:
    """A pair, the rubric that the judge wrote for its prompt, and what it said of both."""
    last = sorted((run / "verdict_pictures").glob("*.json"))[-1]
    pair = next(p for p in json.loads(last.read_text(encoding="utf-8"))["pairs"] if p["outcome"] in ("A", "B"))
    font = ImageFont.load_default(13)
    pen.line(((8, top), (sheet.width - 8, top)), fill=(220, 220, 220))
    for column, (name, picture) in enumerate(zip("AB", pair["pictures"], strict=True)):
        x = 96 + column * (SIDE + GAP)
        won = name == pair["outcome"]
        pen.text((x, top + 10), f"{name}{' is better' * won}", fill=GREEN if won else "black", font=font)
        paste(sheet, last.parent / picture, (x, top + 30))
    pen.text((8, top + 30 + SIDE // 2 - 8), "a verdict", fill="black", font=font)
    x, y = 96 + 2 * (SIDE + GAP) + 8, top + 10
    pen.text((x, y), pair["prompt"], fill="black", font=font)
    for number, (_, question, (a, b)) in enumerate(pair["checks"], 1):
        pen.text((x, y + number * LINE + 4), f"{a:.2f}   {b:.2f}   {question}", fill=GREY, font=font)
    end = y + (len(pair["checks"]) + 1) * LINE + 8
    pen.text((x, end), f"P(A better) = {pair['p_a']:.2f}, both orders asked", fill=GREY, font=font)


def paste(sheet: Image.Image, path: Path, place: tuple[int, int]) -> None:
    with Image.open(path) as picture:
        sheet.paste(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST), place)


def wrapped(text: str, width: int, font: Any) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and font.getlength(f"{line} {word}") > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


def screenshot(url: str, file: Path, wait: float) -> None:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 820})
        page.goto(url)
        page.wait_for_timeout(wait * 1000)
        page.screenshot(path=file)
        browser.close()


@contextlib.contextmanager
def tensorboard(run: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={run}", f"--port={port}", "--load_fast=false"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(60):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
