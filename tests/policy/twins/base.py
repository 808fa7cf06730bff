"""What the matrix test needs to know of a twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Twin:
    """A tiny random-weight pipeline of a real class, for the policy YAML of the same name.

    build: saves it to a folder. overrides: Hydra overrides that make the YAML fit it (sizes, names of last blocks).
    source: whether it edits a source image. patches: "module.attribute" -> value, for sizes that the library hard-codes.
    """

    build: Callable[[Path], None]
    overrides: list[str]
    source: bool = False
    patches: Mapping[str, object] = field(default_factory=dict)
