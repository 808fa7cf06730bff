"""Preference pairs of the shapes world, pictures of prompts or edits of sources, labelled by the exact oracle."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Literal

import numpy as np
from PIL.Image import Image

from arr_rpo.data.preferences.base import PairSequence
from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.world.asked import is_edit, of_this_world, own, truth_of
from arr_rpo.shapes.world.edits import from_metadata, mistaken_edit
from arr_rpo.shapes.world.prompts import varied_scene
from arr_rpo.shapes.world.scene import Scene, draw
from arr_rpo.types import Outcome, Painter, Preference, Prompt, UserError


class ShapesPreferences(PairSequence):
    """`pairs_per_prompt` pairs for each prompt of a split. The image that meets more of the prompt's questions is better.

    A drawn pair depends on its prompt, its number and the seed alone. Subset: the prompt's tag, GenEval's or the kind of edit.

    Args:
        split: "shapes/heldout", "shapes/edit_heldout" and the like, or a file of prompts with such metadata.
        ties: `keep` those with the label tie, or `drop` them: drawn pairs are drawn again until one image is better, of
            a policy's pairs fewer are left.
        policy: makes the images; None has them drawn, right and wrong in ways that a policy might be.
    """

    def __init__(
        self, *, split: str, pairs_per_prompt: int, seed: int, ties: Literal["keep", "drop"], policy: Painter | None
    ) -> None:
        if ties not in ("keep", "drop"):
            raise UserError(f"preferences.ties={ties}: choose keep or drop")
        self.prompts, self._per_prompt, self._seed, self._ties = read_prompts(split), pairs_per_prompt, seed, ties
        self._places = [(p, k) for p in range(len(self.prompts)) for k in range(pairs_per_prompt)]
        self.left_out: Mapping[str, int] = {}
        self._painted: list[tuple[Image, Image]] | None = None
        if policy is not None:
            self._paint(policy)
        self.ids = tuple(f"{self.prompts[p].id}/{k}" for p, k in self._places)

    def _paint(self, policy: Painter) -> None:
        """Two pictures a pair, each of its own noise; without ties where they are to be dropped."""
        asked = [self.prompts[p] for p, _ in self._places]
        a, b = (policy.generate(asked, self._seed, [(self.prompts[p].id, k, side) for p, k in self._places]) for side in "ab")
        kept = [
            row for row, prompt in enumerate(asked) if self._ties == "keep" or label(prompt, a[row], b[row]) is not Outcome.TIE
        ]
        self.left_out = {"tie": len(asked) - len(kept)} if len(kept) < len(asked) else {}
        self._places = [self._places[row] for row in kept]
        self._painted = [(a[row], b[row]) for row in kept]

    def pair(self, index: int) -> Preference:
        place, k = self._places[index]
        prompt = self.prompts[place]
        if self._painted is None:
            return _drawn(prompt, k, self._seed, strict=self._ties == "drop")
        a, b = self._painted[index]
        return _labelled(prompt, k, a, b)

    @staticmethod
    def truth(prompt: Prompt, question: str, image: Image) -> bool | None:
        """Whether the answer to a criterion's question is yes; None where this world does not know the question."""
        try:
            return truth_of(question, prompt.metadata)(detection.detect(image))
        except ValueError:
            return None

    @staticmethod
    def for_prompt(prompt: Prompt, n: int, seed: int) -> list[Preference]:
        """n drawn pairs of one prompt, each with one better image.

        Raises:
            UserError: the prompt has no metadata of this world, so that nobody knows what is right.
        """
        return [_drawn(prompt, k, seed, strict=True) for k in range(n)]


def label(prompt: Prompt, a: Image, b: Image) -> Outcome:
    """Which image meets more of the prompt's questions."""
    found = [detection.detect(image) for image in (a, b)]
    met = [sum(criterion.truth(things) for criterion in own(prompt.metadata)) for things in found]
    return Outcome.higher(*met)


def _drawn(prompt: Prompt, k: int, seed: int, *, strict: bool) -> Preference:
    if not of_this_world(prompt.metadata):
        raise UserError(
            f"prompt {prompt.id!r} ({prompt.text!r}) is no prompt or edit of the shapes world: pairs of it cannot be labelled"
        )
    rng = np.random.default_rng((seed, zlib.crc32(prompt.id.encode()), k))
    while True:
        a, b = (draw(_made(prompt, rng)) for _ in "ab")
        pair = _labelled(prompt, k, a, b)
        if pair.better is not Outcome.TIE or not strict:
            return pair


def _made(prompt: Prompt, rng: np.random.Generator) -> Scene:
    """What a policy might make of a prompt, right or wrong."""
    if is_edit(prompt.metadata):
        return mistaken_edit(*from_metadata(prompt.metadata), rng)
    return varied_scene(dict(prompt.metadata), rng)


def _labelled(prompt: Prompt, k: int, a: Image, b: Image) -> Preference:
    return Preference(f"{prompt.id}/{k}", prompt, a, b, label(prompt, a, b), prompt.metadata.get("tag", ""))
