"""Labelled pairs to learn from: taken in an order that a seed decides, and set apart by their prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from arr_rpo.data.preferences.base import Pairs
from arr_rpo.noise import Purpose, draws
from arr_rpo.types import Outcome, Preference, UserError

TARGETS = {Outcome.A: 1.0, Outcome.TIE: 0.5, Outcome.B: 0.0}


@dataclass(frozen=True)
class Target:
    """index: of the pair in its source. text: of its prompt. target: 1 where A is preferred, 0 where B, 0.5 where neither."""

    index: int
    text: str
    target: float


def taken(pairs: Pairs, most: int | None, seed: int) -> Iterator[tuple[Target, Preference]]:
    """At most `most` pairs that can be opened, or all."""
    found = 0
    for index in map(int, draws(Purpose.SAMPLE, seed, "pairs of a reward model").permutation(len(pairs))):
        if most is not None and found == most:
            return
        for pair in pairs.open([index]):
            found += 1
            yield Target(index, pair.prompt.text, TARGETS[pair.better]), pair


def apart(labelled: Sequence[Target], share: float) -> tuple[list[int], list[int]]:
    """The rows to learn from, and those held out: all pairs of a share of the prompts, one prompt at least on either side.

    Raises:
        UserError: all are of one prompt, or none of either side prefers a picture.
    """
    texts = list(dict.fromkeys(one.text for one in labelled))
    held = set(texts[: max(1, round(share * len(texts)))])
    sides = [[row for row, one in enumerate(labelled) if (one.text in held) is out] for out in (False, True)]
    if not all(any(labelled[row].target != 0.5 for row in side) for side in sides):
        raise UserError(
            f"a reward model wants pairs of two prompts at least, one to learn from and one held out to stop by, each with a "
            f"picture that is preferred: there are {len(labelled)} pairs of {len(texts)} prompts"
        )
    return sides[0], sides[1]
