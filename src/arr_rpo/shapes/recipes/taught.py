"""Which tastes the embedded judge is taught, and how they are chosen for its lessons. It is never taught what anybody prefers.

The wordings of the tastes of held-out annotators are neither asked nor named in a lesson: it has to compose them of what else
it knows. What it was asked before there were tastes ("is there a star upper right?", a question of prompts, too) it goes on
being asked; `ASKED_BEFORE` has those. A lesson that names what is true of a picture takes no picture of which such a taste is
true, for to leave it out would teach that it is not.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.world import prompts
from arr_rpo.shapes.world.open_prompts import ONE_COLOR
from arr_rpo.shapes.world.questions import Located, cell_of
from arr_rpo.shapes.world.scene import place
from arr_rpo.shapes.world.tastes import HALVES, Taste, everything
from arr_rpo.shapes.world.vocabulary import CELLS, COLOURS, NUMBERS, SEEN, TAGS

Rng = np.random.Generator
MOST_NAMED = 16  # of one pair; 1 in 30 that could be named differ in more
HELDOUT = frozenset(one.question for who in annotators().values() if who.group == "heldout" for one, _ in who.tastes)
ASKED_BEFORE = frozenset({"is there nothing lower right?", "is there a star upper right?", "is there a circle lower right?"})


@functools.cache
def in_order() -> tuple[Taste, ...]:
    """All tastes, cell by cell first, as a description of a picture goes, so that they are found in the order of reading."""
    rank = {cell: number for number, cell in enumerate(CELLS)}
    return tuple(sorted(everything(), key=lambda one: min((rank[a] for a in one.attributes if a in rank), default=len(rank))))


@functools.cache
def taught() -> tuple[Taste, ...]:
    """Those of no held-out annotator, in order."""
    return tuple(one for one in in_order() if one.question not in HELDOUT)


def differing(better: Sequence[Located], other: Sequence[Located]) -> list[Taste]:
    """All tastes that the better picture meets and the other does not, in order."""
    return [one for one in in_order() if one.truth(better) and not one.truth(other)]


def balanced_taste(things: Sequence[Located], rng: Rng, among: Sequence[Taste] = ()) -> Taste:
    """A taste (`among` these; without any, of those that are taught) that is met as often as not, all about equally often. Half
    of those that are not met are near: each of their attributes is one of what is met."""
    wanted, among = bool(rng.random() < 0.5), among or taught()
    met = {one.question for one in in_order() if one.truth(things)}
    pool = [one for one in among if (one.question in met) == wanted]
    if not wanted and rng.random() < 0.5:
        there = frozenset().union(*(one.attributes for one in taught() if one.question in met))
        pool = [one for one in pool if one.attributes <= there] or pool
    pool = pool or list(among)  # an empty picture meets little
    often = np.array([_met()[one.question] for one in pool])
    weights = 1 / np.maximum(often if wanted else 1 - often, 0.02)
    return pool[int(rng.choice(len(pool), p=weights / weights.sum()))]


@functools.cache
def _met() -> dict[str, float]:
    """How often each taste is met by pictures of one to four things."""
    rng = np.random.default_rng(0)
    scenes = [_scene(rng) for _ in range(1000)]
    return {one.question: sum(one.truth(scene) for scene in scenes) / len(scenes) for one in in_order()}


def _scene(rng: Rng) -> Sequence[Located]:
    cells = rng.permutation(4)[: int(rng.integers(1, 5))]
    return place([SEEN[int(rng.integers(len(SEEN)))] for _ in cells], [int(c) for c in cells], rng)


def look_up(things: Sequence[Located], rng: Rng) -> tuple[str, str]:
    """A question whose answer is words, that says what words of tastes mean: of rows, of columns, of different colors."""
    if rng.random() < 0.25:
        return COLORS_ASKED, f" {('zero', *NUMBERS.values())[len({t.color for t in things})]}"
    half = str(rng.choice(list(HALVES)))
    inside = sorted((cell_of(t), f" {t.color} {t.shape}") for t in things if cell_of(t) in HALVES[half])
    return f"what is in the {half}?", " and".join(name for _, name in inside) or " nothing"


COLORS_ASKED = "how many different colors?"


def open_prompt(rng: Rng) -> dict[str, Any]:
    """A prompt that leaves places or colours open."""
    while True:
        content = loosened(prompts.random_metadata(str(rng.choice(TAGS[:-1])), rng), rng, 0.5)
        if sum(entry["count"] for entry in content["include"]) < len(CELLS) or not all(
            "color" in e for e in content["include"]
        ):
            return content


def loosened(metadata: dict[str, Any], rng: Rng, share: float) -> dict[str, Any]:
    """The prompt, or with that chance, where it names two colours, one that names one of them (`open_prompts`)."""
    if metadata.get("tag") != "color_attr" or rng.random() >= share:
        return metadata
    include = [dict(entry) for entry in metadata["include"]]
    del include[int(rng.integers(2))]["color"]
    return {"tag": ONE_COLOR, "include": include}


def texts() -> Iterator[str]:
    """What is said of tastes beside their wordings, for the vocabulary."""
    yield from (one.question for one in in_order())
    yield from (COLORS_ASKED, *(f"what is in the {half}?" for half in HALVES), *(f"something {color}" for color in COLOURS))
