"""What an annotator said of pairs of pictures."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from PIL.Image import Image

from arr_rpo.data.preferences.base import PairSequence
from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.annotators import people
from arr_rpo.shapes.annotators.people import followed
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.oracles.preferences import ShapesPreferences
from arr_rpo.shapes.world.prompts import varied_scene
from arr_rpo.shapes.world.scene import draw
from arr_rpo.types import Outcome, Painter, Preference, Prompt, UserError

MOST_TRIES = 50  # pairs that are drawn for each one that is kept, before nobody is taken to prefer anything


class AnnotatorPreferences(PairSequence):
    """`pairs` labelled pairs. With the same seed, fewer pairs are the first of more; pictures are the same for every annotator
    and noise; and a label that is wrong at some noise is wrong at more.

    Subset: what the pictures differ in to the annotator: `prompt` (how far it is followed), `taste`, `both` or `neither`.

    Args:
        annotator: a name in `data/annotators.yaml`.
        split: "shapes/open_train", "shapes/open_heldout", or a file of prompts with such metadata.
        pairs_per_prompt: how many come of a prompt before the next one's; prompts come in an order that the seed decides, and
            again when all have had theirs.
        only_open: whether prompts come only that leave one of the annotator's tastes open: most pairs differ in how far the
            prompt is followed and in nothing else. The pictures are then not those of other annotators.
        label_noise: share of the labels, ties aside, that name the other picture; 0.5 is a coin.
        chance: whether a choice is one that the annotator makes, by chance; else it is what is worth more to them, and equal
            worth is a tie.
        ties: `keep` those with the label tie, or `drop` them, and draw others in their place.
        policy: makes the pictures; None has them drawn, right and wrong in ways that a policy might be.
    """

    truth = staticmethod(ShapesPreferences.truth)

    def __init__(
        self,
        *,
        annotator: str,
        split: str,
        pairs: int,
        pairs_per_prompt: int,
        only_open: bool,
        label_noise: float,
        chance: bool,
        ties: Literal["keep", "drop"],
        seed: int,
        policy: Painter | None,
    ) -> None:
        if ties not in ("keep", "drop") or not 0 <= label_noise <= 1 or pairs < 1 or pairs_per_prompt < 1:
            raise UserError(
                f"preferences: ties={ties} is keep or drop, label_noise={label_noise} a share, pairs={pairs} and "
                f"pairs_per_prompt={pairs_per_prompt} numbers above 0"
            )
        self.annotator, self._seed, self._noise, self._chance = people.annotator(annotator), seed, label_noise, chance
        prompts = [p for p in read_prompts(split)[:] if not only_open or self.annotator.open_in(p.metadata)]
        if not prompts:
            raise UserError(f"preferences.only_open: no prompt of {split} leaves a taste of {self.annotator.name!r} open")
        self._pairs: list[Preference] = []
        drawn = 0
        while len(self._pairs) < pairs:
            if drawn > MOST_TRIES * pairs:
                raise UserError(f"preferences: {self.annotator.name!r} calls {drawn - len(self._pairs)} of {drawn} pairs equal")
            places = _dealt(prompts, drawn, drawn + pairs - len(self._pairs), pairs_per_prompt, seed)
            drawn += len(places)
            said = [self._labelled(*pair) for pair in _pictures(places, seed, policy)]
            self._pairs += [pair for pair in said if ties == "keep" or pair.better is not Outcome.TIE]
        self.left_out: Mapping[str, int] = {"tie": drawn - len(self._pairs)} if len(self._pairs) < drawn else {}
        self.ids = tuple(pair.id for pair in self._pairs)

    def _labelled(self, name: str, prompt: Prompt, a: Image, b: Image) -> Preference:
        who, things = self.annotator, [detection.detect(image) for image in (a, b)]
        obeyed = who.prompt * (followed(prompt, things[0]) - followed(prompt, things[1]))
        pleased = who.pleased(prompt, things[0]) - who.pleased(prompt, things[1])
        rng = np.random.default_rng((self._seed, zlib.crc32(f"{who.name}/{name}".encode())))
        gap, drawn = round(obeyed + pleased, 9), rng.random()  # rounded: sums of shares that are equal are equal
        better = who.choose(gap, rng) if self._chance else Outcome.higher(gap, 0)
        subset = {(True, True): "both", (True, False): "prompt", (False, True): "taste", (False, False): "neither"}
        label = better.swapped if drawn < self._noise else better
        return Preference(name, prompt, a, b, label, subset[abs(obeyed) > 1e-9, abs(pleased) > 1e-9])

    def pair(self, index: int) -> Preference:
        return self._pairs[index]

    def for_prompt(self, prompt: Prompt, n: int, seed: int) -> list[Preference]:
        """At most n pairs of a prompt's text, in an order that the seed decides, without those called equal."""
        mine = [pair for pair in self._pairs if pair.prompt.text == prompt.text and pair.better is not Outcome.TIE]
        rng = np.random.default_rng((seed, zlib.crc32(prompt.text.encode())))
        return [mine[int(i)] for i in rng.permutation(len(mine))[:n]]


def _dealt(prompts: Sequence[Prompt], start: int, stop: int, per_prompt: int, seed: int) -> list[tuple[Prompt, int]]:
    """The prompts of pairs `start` to `stop`, each with how many pairs it had before."""
    found: list[tuple[Prompt, int]] = []
    for place in range(start, stop):
        again, rest = divmod(place, per_prompt * len(prompts))
        row, k = divmod(rest, per_prompt)
        order = np.random.default_rng((seed, again)).permutation(len(prompts))
        found.append((prompts[int(order[row])], again * per_prompt + k))
    return found


def _pictures(
    places: Sequence[tuple[Prompt, int]], seed: int, policy: Painter | None
) -> list[tuple[str, Prompt, Image, Image]]:
    """Name, prompt and both pictures of each pair."""
    asked = [prompt for prompt, _ in places]
    if policy is None:
        sides = [[_drawn(prompt, k, side, seed) for prompt, k in places] for side in "ab"]
    else:
        sides = [policy.generate(asked, seed, [(prompt.id, k, side) for prompt, k in places]) for side in "ab"]
    return [(f"{prompt.id}/{k}", prompt, a, b) for (prompt, k), a, b in zip(places, *sides, strict=True)]


def _drawn(prompt: Prompt, k: int, side: str, seed: int) -> Image:
    rng = np.random.default_rng((seed, zlib.crc32(f"{prompt.id}/{k}/{side}".encode())))
    return draw(varied_scene(dict(prompt.metadata), rng))
