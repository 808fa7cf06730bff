"""Where all randomness of a run comes from: streams with names. Nothing else makes a generator.

A stream is known by what it is for and whom it is for, never by what was drawn before it. So a candidate's noise is the same
whatever shares its batch, and batch sizes are settings of memory alone.

Exceptions, with seeds of their own: statistical resampling (`report.statistics`, `evaluation.bootstrap`), and what makes the
embedded models and their data (`shapes`). Library code that initialises weights draws from the global generators, which
`commands.runs.training` seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

Name = int | str


class Purpose(StrEnum):
    """What a stream is for. The words are part of its seed: another word is other noise."""

    FIRST = "first noise"  # of a candidate, that its sampling starts from
    STEP = "step noise"  # of a candidate's stochastic steps
    FORWARD = "forward noise"  # of objectives that noise a finished candidate again
    WINDOW = "window"  # of stochastic steps
    ORDER = "order"  # of candidates and timesteps in an update
    HELDOUT = "heldout"  # first noise of deployed pictures, by the prompt's id
    DEAL = "deal"  # of prompts to updates
    JUDGE = "judge"  # that answers at random
    CONTROL = "control"  # rubrics and labels that are wrong on purpose
    SAMPLE = "sample"  # of data: pairs of a bench, drawings that a command measures with


def generator(purpose: Purpose, *names: Name) -> torch.Generator:
    """The stream at its beginning, on the CPU: the same numbers whatever the device of the model."""
    return torch.Generator().manual_seed(_seed(purpose, names))


def draws(purpose: Purpose, *names: Name) -> np.random.Generator:
    """The same for NumPy."""
    return np.random.default_rng(_seed(purpose, names))


@dataclass(frozen=True)
class Noise:
    """The streams of one update of a run.

    Prompts are named by their place in the update, or by their id where they are measured; candidates by their place in the
    group.
    """

    seed: int
    update: int

    def generator(self, purpose: Purpose, *names: Name) -> torch.Generator:
        """The stream of this update with these names, at its beginning."""
        return generator(purpose, self.seed, self.update, *names)

    def normal(self, purpose: Purpose, rows: Sequence[tuple[Name, ...]], shape: Sequence[int], *names: Name) -> Tensor:
        """(len(rows), *shape) standard normal, float32, on the CPU; row i from its own stream (*rows[i], *names), so that it
        does not depend on which others are asked for."""
        if not rows:
            return torch.empty(0, *shape)
        streams = [self.generator(purpose, *row, *names) for row in rows]
        return torch.stack([torch.randn(tuple(shape), generator=stream, dtype=torch.float32) for stream in streams])


def _seed(purpose: Purpose, names: Sequence[Name]) -> int:
    """63 bits of a digest. JSON keeps apart what strung together would be one: 1, 12 and 11, 2; 1 and "1"."""
    encoded = json.dumps([purpose, *names]).encode()
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big") >> 1
