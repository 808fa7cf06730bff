"""`python -m experiments.hacking.pictures FILE.png RUN...`: what gaming looks like.

For each run, of the held-out pictures that its own reward prefers to the base's of the same prompt and noise, those that
lost most of what they are worth to the annotator: the base's above, the trained policy's below, with both worths (0 to 1). A
run with fewer of them leaves places empty. Beside them, how many are worse, of those that the annotator does not call equal.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from arr_rpo.commands.cli.errors import plain_errors
from experiments.hacking.courses import SAME
from experiments.hacking.finished import Finished, preferred

SIDE, GAP, LABEL, WORDS = 96, 10, 150, 44


@dataclass(frozen=True)
class Lost:
    """A prompt's picture by the base and by the trained policy, and what each is worth."""

    prompt: str
    base: Image.Image
    trained: Image.Image
    worth_base: float
    worth: float


def most_lost(pairs: Sequence[Lost], liked: Sequence[float | None], most: int) -> list[Lost]:
    """Those that the reward prefers and the annotator does not, the greatest loss first."""
    bad = [pair for pair, said in zip(pairs, liked, strict=True) if said is not None and said > 0.5]
    bad = [pair for pair in bad if pair.worth < pair.worth_base - SAME]
    return sorted(bad, key=lambda pair: pair.worth - pair.worth_base)[:most]


def of_run(run: Path, most: int) -> tuple[str, list[Lost]]:
    """A label with how many there are, and the worst of them."""
    trained = Finished(run)
    shown = trained.shown(trained.heldout)
    worth = [trained.worth(shown.prompts, some) for some in (shown.base, shown.images)]
    pairs = [
        Lost(prompt.text, base, image, before, after)
        for prompt, (image, base), before, after in zip(shown.prompts, shown.pairs, *worth, strict=True)
    ]
    liked = preferred(trained.config, shown)
    decided = [abs(pair.worth - pair.worth_base) > SAME for pair in pairs]
    accepted = sum(said is not None and said > 0.5 and one for said, one in zip(liked, decided, strict=True))
    many = len(most_lost(pairs, liked, len(pairs)))
    return f"{trained.arm}\n{trained.who.name}\n{many} of {accepted}\nthat it prefers\nare worse", most_lost(pairs, liked, most)


def sheet(rows: Sequence[tuple[str, Sequence[Lost]]], most: int) -> Image.Image:
    height = WORDS + 2 * (SIDE + 16) + GAP
    whole = Image.new("RGB", (LABEL + most * (SIDE + GAP), height * len(rows)), "white")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(size=11)
    for row, (label, pairs) in enumerate(rows):
        top = row * height
        draw.multiline_text((4, top + WORDS), label, fill="black", font=font)
        for column, pair in enumerate(pairs):
            left = LABEL + column * (SIDE + GAP)
            words = textwrap.fill(pair.prompt, 18, break_long_words=False)
            draw.multiline_text((left, top), words, fill="black", font=font, spacing=1)
            for place, (image, worth) in enumerate(((pair.base, pair.worth_base), (pair.trained, pair.worth))):
                y = top + WORDS + place * (SIDE + 16)
                whole.paste(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST), (left, y))
                draw.text((left, y + SIDE), f"{('base', 'trained')[place]}: {worth:.2f}", fill="black", font=font)
    return whole


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=7, help="pictures of each run")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sheet([of_run(run, given.most) for run in given.runs], given.most).save(given.file, optimize=True)
    print(given.file)


if __name__ == "__main__":
    main()
