"""People with tastes: what each prefers, and what each says of two pictures (`data/annotators.yaml`).

What a taste is worth counts where the prompt leaves it open: nobody wants a prompt disobeyed for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL.Image import Image

from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.world.asked import own
from arr_rpo.shapes.world.questions import Located
from arr_rpo.shapes.world.tastes import Taste, leaves_open, taste
from arr_rpo.types import Outcome, Prompt, UserError

FILE = Path(__file__).parents[1] / "data" / "annotators.yaml"
GROUPS = ("developing", "heldout")


@dataclass(frozen=True)
class Annotator:
    """tastes: each with its weight, a utility. prompt: utility of meeting all criteria of the prompt. temperature: of choices,
    in utility. ties: Davidson's nu. group: `developing`, or `heldout`, which is for final studies alone.
    """

    name: str
    group: str
    tastes: tuple[tuple[Taste, float], ...]
    prompt: float
    temperature: float
    ties: float

    def open_in(self, metadata: Mapping[str, Any]) -> list[tuple[Taste, float]]:
        """The tastes that a prompt leaves open."""
        return [(one, weight) for one, weight in self.tastes if leaves_open(metadata, one.question)]

    def checks(self, prompt: Prompt, image: Image) -> tuple[tuple[str, bool], ...]:
        """The exact oracle: the prompt's own criteria and its open tastes, each with whether a picture meets it."""
        things = detection.detect(image)
        asked = [(a.text, a.truth) for a in own(prompt.metadata)]
        asked += [(one.question, one.truth) for one, _ in self.open_in(prompt.metadata)]
        return tuple((question, truth(things)) for question, truth in asked)

    def utility(self, prompt: Prompt, image: Image) -> float:
        """What a picture is worth to them."""
        things = detection.detect(image)
        return self.prompt * followed(prompt, things) + self.pleased(prompt, things)

    def pleased(self, prompt: Prompt, things: Sequence[Located]) -> float:
        """The weights of the tastes that are met, of those that the prompt leaves open."""
        return sum(weight for one, weight in self.open_in(prompt.metadata) if one.truth(things))

    def choose(self, gap: float, rng: np.random.Generator) -> Outcome:
        """What they say of two pictures of which A is worth `gap` more than B: by chance, as people do."""
        p_a, p_tie = chances(gap, self.temperature, self.ties)
        drawn = rng.random()
        return Outcome.A if drawn < p_a else (Outcome.TIE if drawn < p_a + p_tie else Outcome.B)


def followed(prompt: Prompt, things: Sequence[Located]) -> float:
    """Share of the prompt's own criteria that are met."""
    met = [criterion.truth(things) for criterion in own(prompt.metadata)]
    return sum(met) / len(met)


def chances(gap: float, temperature: float, ties: float) -> tuple[float, float]:
    """Probabilities of A and of a tie: Bradley-Terry with ties (Davidson 1970, https://doi.org/10.1080/01621459.1970.10481082).

    With worths a = exp(gap / temperature) and b = 1: a, and ties * sqrt(a b), over a + b + ties * sqrt(a b).
    """
    half = math.exp(-abs(gap) / temperature / 2)  # sqrt of the lesser worth over the greater one
    total = 1 + half**2 + ties * half
    greater, lesser = 1 / total, half**2 / total
    return (greater if gap >= 0 else lesser), ties * half / total


@functools.cache
def annotators() -> Mapping[str, Annotator]:
    """Those of the file, by name."""
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    common = {key: float(data[key]) for key in ("prompt", "temperature", "ties")}
    return {
        name: Annotator(name, group, tuple((taste(question), float(weight)) for question, weight in likes.items()), **common)
        for group in GROUPS
        for name, likes in data[group].items()
    }


def annotator(name: str) -> Annotator:
    """The one of a name.

    Raises:
        UserError: nobody is called so.
    """
    if name not in annotators():
        known = {group: ", ".join(a.name for a in annotators().values() if a.group == group) for group in GROUPS}
        raise UserError(f"no annotator is called {name!r}: {known['developing']} (for final studies {known['heldout']})")
    return annotators()[name]
