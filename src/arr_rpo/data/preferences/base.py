"""Labelled pairs, wherever they come from: what is known of them by those who learn from them, show them or measure by them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, overload

from PIL.Image import Image

from arr_rpo.types import Preference, Prompt

Truth = Callable[[Prompt, str, Image], bool | None]


class Pairs(Protocol):
    """All pairs of a source, in a row."""

    def __len__(self) -> int: ...
    def open(self, indices: Iterable[int]) -> Iterator[Preference]: ...


class PairsOfPrompts(Protocol):
    """Pairs by prompt."""

    def for_prompt(self, prompt: Prompt, n: int, seed: int) -> list[Preference]:
        """At most n pairs of a prompt, the same ones for the same seed."""


class AnyPairs(Pairs, PairsOfPrompts, Protocol):
    """Pairs that can be asked for either way."""


class LabelledPairs(Pairs, Protocol):
    """What the bench measures a judge on.

    ids: one a pair, each once. left_out: how many rows of the files are not among the pairs, by reason. truth: whether the
    answer to a question about an image of a prompt is yes, None where that is not known; None where it never is.
    """

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def left_out(self) -> Mapping[str, int]: ...
    @property
    def truth(self) -> Truth | None: ...


class PairSequence(Sequence[Preference]):
    """A source of pairs that knows them by their places. ids: one a pair, each once."""

    ids: Sequence[str]

    @abstractmethod
    def pair(self, index: int) -> Preference:
        """The one at a place."""

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Preference: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Preference]: ...
    def __getitem__(self, index: int | slice) -> Preference | Sequence[Preference]:
        return [self.pair(i) for i in range(*index.indices(len(self)))] if isinstance(index, slice) else self.pair(index)

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        """The pairs at `indices`."""
        return (self.pair(index) for index in indices)
