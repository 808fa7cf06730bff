"""Which of several processes this is, by what torchrun or Slurm put into its environment. They need not speak to each other."""

from __future__ import annotations

import os

RANK, WORLD = ("RANK", "SLURM_PROCID"), ("WORLD_SIZE", "SLURM_NTASKS")


def rank() -> int:
    """Number of this process, from 0."""
    return _first(RANK, 0)


def world() -> int:
    """How many there are."""
    return _first(WORLD, 1)


def _first(names: tuple[str, ...], otherwise: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name)), otherwise)
