"""Prompts that leave something open, by which people with tastes differ: `shapes/open_train` and `shapes/open_heldout`.

Those of the present splits whose places or colours are free, and two kinds that no other split has: one object of two without
a colour ("a red circle and a square"), and positions without colours ("a circle left of a square").

`python -m arr_rpo.shapes.open_prompts` writes both files.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from arr_rpo.shapes.prompts import FOLDER, Metadata, describe, splits, write_files
from arr_rpo.shapes.vocabulary import CELLS, PHRASINGS, RELATIONS, SEEN, SHAPES

HELD_OUT_SHARE = 0.3  # of the contents of the two new kinds
ONE_COLOR = "one_color"


def contents() -> Iterator[Metadata]:
    """Every content of the two new kinds, each once."""
    for index, ((color, shape), other) in enumerate(itertools.product(SEEN, SHAPES)):
        if shape != other:
            named, open_one = {"class": shape, "count": 1, "color": color}, {"class": other, "count": 1}
            yield {"tag": ONE_COLOR, "include": [named, open_one] if index % 2 else [open_one, named]}
    for a, b in itertools.combinations(SHAPES, 2):
        for relation in RELATIONS:
            placed = {"class": a, "count": 1, "position": [relation, 0]}
            yield {"tag": "position", "include": [{"class": b, "count": 1}, placed]}


def is_open(metadata: Metadata) -> bool:
    """Whether places or colours are free. Positions with colours leave a little open, and are many: they stay out."""
    include = metadata["include"]
    if all("color" in entry for entry in include):
        return bool(metadata["tag"] != "position" and sum(entry["count"] for entry in include) < len(CELLS))
    return True


def open_splits(seed: int = 0) -> dict[str, list[Metadata]]:
    """`open_train` and `open_heldout`, disjoint in content: what is held out of the present splits is held out here."""
    rng = np.random.default_rng(seed)
    present, new = splits(), list(contents())
    out = {f"open_{name}": [row for row in present[name] if is_open(row)] for name in ("train", "heldout")}
    for tag in (ONE_COLOR, "position"):
        rows = [row for row in new if row["tag"] == tag]
        rows = [rows[i] for i in rng.permutation(len(rows))]
        held_out = round(HELD_OUT_SHARE * len(rows))
        for name, part in (("open_heldout", rows[:held_out]), ("open_train", rows[held_out:])):
            out[name] += [{**row, "prompt": describe(row, phrasing)} for row in part for phrasing in PHRASINGS]
    return out


if __name__ == "__main__":
    write_files(open_splits(), FOLDER)
