"""What a benchmark asks for: its prompts, and the files that a scorer will look for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arr_rpo.types import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Item:
    """One prompt of a benchmark.

    key: its name within the benchmark. The noise of its pictures is that of (seed, key, sample), with any policy.
    number: its place in the benchmark's own order, from 0. fields: the rest of its row, for file names and questions.
    source: opens the picture to edit. negative: what the picture should not show, for pipelines that take it. references: opens
    further pictures that the text speaks of.
    """

    key: str
    number: int
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    source: Callable[[], Image] | None = None
    negative: str | None = None
    references: Callable[[], tuple[Image, ...]] = tuple

    def prompt(self) -> Prompt:
        """With its pictures opened."""
        source = self.source and self.source()
        return Prompt(self.key, self.text, source=source, references=self.references(), negative=self.negative)


@dataclass(frozen=True)
class PictureFile:
    """A file that the scorer reads. path: relative to the output folder. samples: the pictures of the item that it shows:
    one, or those of a grid, row by row."""

    path: str
    item: Item
    samples: tuple[int, ...]
