"""`python experiments/alarm/pictures.py runs/alarm OUT.png`: what the alarms of seed 1 show, by the base and as it rang."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

SIDE, STEP, LEFT = 64, 70, 76
ARMS = ("darkness", "stripes")


def main(runs: Path, out: Path) -> None:
    sheet = Image.new("RGB", (LEFT + 8 * STEP, 2 * len(ARMS) * STEP + 6), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (arm, which) in enumerate((arm, which) for arm in ARMS for which in ("base", "now")):
        pen.text((4, row * STEP + 26), "base" if which == "base" else arm, fill="black")
        for column, path in enumerate(sorted((runs / arm).glob(f"*seed=1/alarms/*_{which}.png"))):
            with Image.open(path) as picture:
                small = picture.resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(small, (LEFT + column * STEP, row * STEP + 4))
    sheet.save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
