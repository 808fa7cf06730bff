"""`python experiments/unsaid/pictures.py FILE.png RUN...`: can one see the taste? A row of the same held-out prompts'
pictures for each run, from the same noise, the base's first; a frame is green where the picture meets all tastes that the
prompt leaves open, red where it meets none of them."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.types import UserError

SIDE, FRAME, LABEL = 96, 4, 150
COLOURS = {1.0: "#2a9d4a", 0.0: "#c0392b"}


def tile(path: Path, met: list[bool]) -> Image.Image:
    share = sum(met) / len(met) if met else 0.5
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
    framed = Image.new("RGB", (SIDE + 2 * FRAME, SIDE + 2 * FRAME), COLOURS.get(share, "#d9a400"))
    framed.paste(small, (FRAME, FRAME))
    return framed


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    given = parser.parse_args()
    rows: list[tuple[str, list[Image.Image]]] = []
    prompts: list[str] = []
    for run in given.runs:
        lines = [json.loads(line) for line in (run / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
        shown = [row for row in lines if row.get("pictures")]
        if not shown:
            raise UserError(f"{run} kept no held-out pictures")
        for kind, when in (("base", "before"), ("trained", "after")):
            if kind == "base" and rows:
                continue
            name = "base" if kind == "base" else run.name.split(",annotator")[0].removeprefix("arm=")
            tiles = [tile(run / row["pictures"][kind], [*row[when]["annotator"].get("met", {}).values()]) for row in shown]
            rows.append((name, tiles))
        prompts = [row["prompt"] for row in shown]
    step = SIDE + 2 * FRAME + 6
    sheet = Image.new("RGB", (LABEL + step * len(prompts), 54 + step * len(rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for column, prompt in enumerate(prompts):
        words = textwrap.fill(prompt, 18, break_long_words=False)
        draw.multiline_text((LABEL + column * step, 2), words, fill="black", font=font, spacing=1)
    for place, (name, tiles) in enumerate(rows):
        draw.text((4, 54 + place * step + SIDE // 2), name, fill="black", font=font)
        for column, one in enumerate(tiles):
            sheet.paste(one, (LABEL + column * step, 54 + place * step))
    sheet.save(given.file, optimize=True)
    print(given.file)


if __name__ == "__main__":
    main()
