"""Prompts that leave something open, by which people with tastes differ: `shapes/open_train` and `shapes/open_heldout`.

Those of the present splits whose places or colours are free, and one kind that no other split has: of two objects one has a
colour ("a red circle and a square"). The base policy was taught no such prompts, and follows them nearly as often as those that
name both colours; positions without colours it does not follow (experiments/unsaid), so there are none.

`python -m arr_rpo.shapes.world.open_prompts` writes both files.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from arr_rpo.shapes.world.prompts import FOLDER, Metadata, describe, splits, write_files
from arr_rpo.shapes.world.vocabulary import CELLS, PHRASINGS, SEEN, SHAPES

HELD_OUT_SHARE = 0.5  # of the contents of the new kind
ONE_COLOR = "one_color"


def contents() -> Iterator[Metadata]:
    """Every content of the new kind, each once.

    Which of the two is named first goes by the shape whose colour is open (circle and triangle first, square and star second),
    as four shapes take turns: for these prompts, order and shape are one.
    """
    for index, ((color, shape), other) in enumerate(itertools.product(SEEN, SHAPES)):
        if shape != other:
            named, open_one = {"class": shape, "count": 1, "color": color}, {"class": other, "count": 1}
            yield {"tag": ONE_COLOR, "include": [named, open_one] if index % 2 else [open_one, named]}


def is_open(metadata: Metadata) -> bool:
    """Whether places or colours are free. Positions leave a little open, and are many: they stay out."""
    include = metadata["include"]
    if all("color" in entry for entry in include):
        return bool(metadata["tag"] != "position" and sum(entry["count"] for entry in include) < len(CELLS))
    return True


def open_splits(seed: int = 0) -> dict[str, list[Metadata]]:
    """`open_train` and `open_heldout`, disjoint in content: what is held out of the present splits is held out here."""
    rng = np.random.default_rng(seed)
    present, new = splits(), list(contents())
    out = {f"open_{name}": [row for row in present[name] if is_open(row)] for name in ("train", "heldout")}
    new = [new[i] for i in rng.permutation(len(new))]
    held_out = round(HELD_OUT_SHARE * len(new))
    for name, part in (("open_heldout", new[:held_out]), ("open_train", new[held_out:])):
        out[name] += [{**row, "prompt": describe(row, phrasing)} for row in part for phrasing in PHRASINGS]
    return out


if __name__ == "__main__":
    write_files(open_splits(), FOLDER)
