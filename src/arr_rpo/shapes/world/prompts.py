"""Prompts in GenEval's metadata schema, their splits, scenes that satisfy them or nearly, and captions with mistakes.

`python -m arr_rpo.shapes.world.prompts` writes the three files that ship with the package.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arr_rpo.shapes.world.questions import cell_of
from arr_rpo.shapes.world.scene import Scene, place
from arr_rpo.shapes.world.vocabulary import COLOURS, NUMBERS, PHRASINGS, RELATIONS, SEEN, SHAPES, UNSEEN, plural

FOLDER = Path(__file__).parents[1] / "data"
Metadata = dict[str, Any]

# Contents of each kind. Kinds with few contents are short by nature; the rest carries the measure.
HELD_OUT_CONTENTS = {"single_object": 1, "colors": 5, "counting": 20, "two_object": 2, "color_attr": 50, "position": 140}
UNSEEN_CONTENTS = {"colors": 3, "counting": 9, "color_attr": 20, "position": 40}
PHRASINGS_OF = {"position": 2}  # how many phrasings a content appears in; all of them where not named


def describe(metadata: Metadata, phrasing: str = PHRASINGS[0]) -> str:
    """The prompt's text, in GenEval's wording: "a photo of a red circle left of a blue square"."""
    include = metadata["include"]
    names = [" ".join(filter(None, (e.get("color"), e["class"]))) for e in include]
    if metadata["tag"] == "counting":
        entry = include[0]
        words = filter(None, (NUMBERS[entry["count"]], entry.get("color"), plural(entry["class"])))
        return f"{phrasing} {' '.join(words)}"
    if metadata["tag"] == "position":
        return f"{phrasing} a {names[1]} {include[1]['position'][0]} a {names[0]}"
    return f"{phrasing} " + " and ".join(f"a {name}" for name in names)


def contents(tag: str) -> Iterator[Metadata]:
    """Every content of a kind, each once: "a left of b" and "b right of a" ask for the same pictures, so only one is listed."""
    kinds = [(c, s) for c in COLOURS for s in SHAPES]

    def row(*include: Metadata) -> Metadata:
        return {"tag": tag, "include": list(include)}

    def one(shape: str, color: str | None = None, **extra: Any) -> Metadata:
        return {"class": shape, "count": 1, **({"color": color} if color else {}), **extra}

    if tag == "single_object":
        yield from (row(one(shape)) for shape in SHAPES)
    elif tag == "colors":
        yield from (row(one(shape, color)) for color, shape in kinds)
    elif tag == "two_object":
        yield from (row(one(a), one(b)) for a, b in itertools.combinations(SHAPES, 2))
    elif tag == "counting":
        for count, shape, color in itertools.product((2, 3, 4), SHAPES, (None, *COLOURS)):
            yield row({**one(shape, color), "count": count})
    else:
        for index, pair in enumerate(itertools.combinations(kinds, 2)):
            (color_a, a), (color_b, b) = pair if index % 2 else pair[::-1]  # so that no shape or colour always comes first
            if a == b:
                continue
            if tag == "color_attr":
                yield row(one(a, color_a), one(b, color_b))
            else:  # GenEval lists the reference first and the placed object, with its relation, second
                for relation in RELATIONS:
                    yield row(one(b, color_b), one(a, color_a, position=[relation, 0]))


def is_unseen(metadata: Metadata) -> bool:
    """Whether it asks for a colour-shape combination that nothing is trained on."""
    return any((e.get("color"), e["class"]) in UNSEEN for e in metadata["include"])


def splits(seed: int = 0) -> dict[str, list[Metadata]]:
    """`train`, `heldout`, `unseen`: disjoint in content. Every content comes in several phrasings, all in one split."""
    rng = np.random.default_rng(seed)
    out: dict[str, list[Metadata]] = {"train": [], "heldout": [], "unseen": []}
    for tag, held_out in HELD_OUT_CONTENTS.items():
        rows = list(contents(tag))
        seen = [r for r in rows if not is_unseen(r)]
        unseen = [r for r in rows if is_unseen(r)]
        seen = [seen[i] for i in rng.permutation(len(seen))]
        unseen = [unseen[i] for i in rng.permutation(len(unseen))][: UNSEEN_CONTENTS.get(tag, 0)]
        for name, part in (("heldout", seen[:held_out]), ("train", seen[held_out:]), ("unseen", unseen)):
            for metadata in part:
                phrasings = rng.permutation(PHRASINGS)[: PHRASINGS_OF.get(tag)]
                out[name] += [{**metadata, "prompt": describe(metadata, str(p))} for p in phrasings]
    return out


def random_metadata(tag: str, rng: np.random.Generator) -> Metadata:
    """A random content of a kind without unseen combinations; what the base and the judge are trained on."""

    def one(**extra: Any) -> Metadata:
        color, shape = SEEN[int(rng.integers(len(SEEN)))]
        return {"class": shape, "count": 1, "color": color, **extra}

    first = one()
    if tag == "counting":
        first["count"] = int(rng.integers(2, 5))
    second = one()
    while second["class"] == first["class"]:
        second = one()
    if tag == "position":
        second["position"] = [str(rng.choice(RELATIONS)), 0]
    include = [first, second] if tag in ("two_object", "color_attr", "position") else [first]
    if tag in ("single_object", "two_object") or (tag == "counting" and rng.random() < 0.2):
        for entry in include:
            del entry["color"]
    return {"tag": tag, "include": include}


def scene_of(metadata: Metadata, rng: np.random.Generator) -> Scene:
    """A scene in which every criterion of the prompt holds. Colours left open are drawn at random, without unseen ones."""
    kinds = []
    for entry in metadata["include"]:
        colors = [c for c, s in SEEN if s == entry["class"]]
        kinds += [(entry.get("color") or str(rng.choice(colors)), entry["class"]) for _ in range(entry["count"])]
    cells = rng.permutation(4)[: len(kinds)]
    for index, entry in enumerate(metadata["include"]):
        if "position" in entry:
            relation, target = entry["position"]
            while not _cells_stand(int(cells[index]), relation, int(cells[target])):
                cells = rng.permutation(4)[: len(kinds)]
    return place(kinds, [int(c) for c in cells], rng)


def _cells_stand(a: int, relation: str, b: int) -> bool:
    (row_a, column_a), (row_b, column_b) = divmod(a, 2), divmod(b, 2)
    return {
        "left of": column_a < column_b,
        "right of": column_a > column_b,
        "above": row_a < row_b,
        "below": row_a > row_b,
    }[relation]


def mistaken(metadata: Metadata, error_rate: float, rng: np.random.Generator) -> Metadata:
    """The content with each attribute (shape, colour, number, relation) replaced by a wrong one at `error_rate`.

    Captions of web images are like that. A base model trained on them knows the right mode and spreads its probability.
    """
    wrong: Metadata = {"tag": metadata["tag"], "include": []}
    for original in metadata["include"]:
        entry = dict(original)
        wrong_shape, wrong_color = rng.random() < error_rate, "color" in entry and rng.random() < error_rate
        while wrong_shape or wrong_color:
            entry["class"] = _other(SHAPES, original["class"], rng) if wrong_shape else original["class"]
            if "color" in entry:
                entry["color"] = _other(tuple(COLOURS), original["color"], rng) if wrong_color else original["color"]
            if (entry.get("color"), entry["class"]) not in UNSEEN:
                break
        if metadata["tag"] == "counting" and rng.random() < error_rate:
            entry["count"] = _other((2, 3, 4), entry["count"], rng)
        if "position" in entry and rng.random() < error_rate:
            entry["position"] = [_other(RELATIONS, entry["position"][0], rng), 0]
        wrong["include"].append(entry)
    return wrong


def _other(choices: tuple[Any, ...], value: Any, rng: np.random.Generator) -> Any:
    rest = [c for c in choices if c != value]
    return rest[int(rng.integers(len(rest)))]


def varied_scene(metadata: dict[str, Any], rng: np.random.Generator) -> Scene:
    """A picture that a policy might make of a prompt: right, wrong in attributes, short of or over objects, or unrelated."""
    kind = rng.random()
    if kind < 0.15:
        cells = rng.permutation(4)[: int(rng.integers(0, 5))]
        return place([SEEN[int(rng.integers(len(SEEN)))] for _ in cells], list(cells), rng)
    scene = scene_of(metadata if kind < 0.5 else mistaken(metadata, 0.3, rng), rng)
    if rng.random() < 0.15 and len(scene) > 1:
        scene = scene[:-1]
    if rng.random() < 0.15 and len(scene) < 4:
        taken = {cell_of(t) for t in scene}
        free = [c for c in range(4) if c not in taken]
        scene += place([SEEN[int(rng.integers(len(SEEN)))]], [int(rng.choice(free))], rng)
    return scene


def write_files(rows_of: Mapping[str, Sequence[Metadata]], folder: Path = FOLDER) -> None:
    """Writes `<name>.jsonl` for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in rows_of.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{name}: {len(rows)} prompts")


if __name__ == "__main__":
    write_files(splits())
