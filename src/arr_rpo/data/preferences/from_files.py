"""Labelled pairs in files, whose images are opened only when a pair is asked for."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, TypedDict

from PIL.Image import Image

from arr_rpo.data.images import Cell, ImageError, ImageRef, Images, content_digest
from arr_rpo.data.preferences.base import PairSequence
from arr_rpo.data.tables import Row, read_rows
from arr_rpo.types import Outcome, Preference, Prompt, UserError

log = logging.getLogger(__name__)


class PairReading(TypedDict):
    """How every reader reads.

    image_root: what image paths are relative to, and below which they must lie; None takes the folder of the file.
    strip_prefix: taken off the beginning of paths first.
    swap_seed: of the coin, one an id, that decides which image is A; None keeps the file's order. Where the preferred image
        always comes first, a judge that always says A would else be perfect.
    ties: whether pairs that people call equal are kept, with the label `tie`.
    on_missing: whether an image that is missing or broken is an error, or has its pair left out and counted.
    """

    image_root: str | None
    strip_prefix: str | None
    swap_seed: int | None
    ties: Literal["keep", "drop"]
    on_missing: Literal["error", "skip"]


@dataclass(frozen=True, slots=True)
class UnopenedPair:
    """A pair as its file has it, unopened. where: file and row. source: of an edit. prompt_id: shared by the pairs of a
    ranking; empty takes that of the first pair of the same text and source."""

    where: str
    id: str
    text: str
    a: ImageRef
    b: ImageRef
    better: Outcome
    subset: str = ""
    source: ImageRef = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    prompt_id: str = ""


class ReadPairs(PairSequence):
    """The pairs of some files. An index opens its pair or raises; `open` and iteration do as `on_missing` says.

    path: a file, a folder, or a pattern. of_row: the pairs of a row; a string stands for none, and says why.
    skipped: the messages of pairs whose images could not be opened so far.
    """

    truth = None

    def __init__(
        self,
        path: str,
        of_row: Callable[[Row], Iterable[UnopenedPair | str]],
        *,
        image_root: str | None,
        strip_prefix: str | None,
        swap_seed: int | None,
        ties: Literal["keep", "drop"],
        on_missing: Literal["error", "skip"],
    ) -> None:
        for name, value, allowed in (("ties", ties, ("keep", "drop")), ("on_missing", on_missing, ("error", "skip"))):
            if value not in allowed:
                raise UserError(f"preferences.{name}={value}: choose {' or '.join(allowed)}")
        self._swap_seed, self._on_missing = swap_seed, on_missing
        self.left_out: Counter[str] = Counter()
        self._pairs: list[UnopenedPair] = []
        self._folders: list[Path] = []  # of the file of each pair, where its pictures lie
        self._images: dict[Path, Images] = {}
        for file, pair in ((row.path, pair) for row in read_rows(path) for pair in _pairs(row, of_row)):
            if isinstance(pair, str):
                self.left_out[pair] += 1
            elif pair.better is Outcome.TIE and ties == "drop":
                self.left_out["tie"] += 1
            else:
                self._pairs.append(pair)
                self._folders.append(folder := file.parent)
                if folder not in self._images:
                    self._images[folder] = Images(image_root, file, strip_prefix)
        if not self._pairs:
            raise UserError(f"preferences.path={path}: no pairs are left: {dict(self.left_out) or 'the files are empty'}")
        self.ids = _unique(pair.id for pair in self._pairs)
        self._prompt_ids = list(self._prompts_of_pairs())
        self.skipped: list[str] = []
        self._opened = lru_cache(maxsize=32)(self._opened_in)  # images of one ranking come in many pairs
        self._prompts = lru_cache(maxsize=4)(Prompt)  # so that what is known of a ranking's prompt is known of it in each pair

    def pair(self, index: int) -> Preference:
        """Raises ImageError where an image is missing or broken, whatever `on_missing` says."""
        pair, name = self._pairs[index], self.ids[index]
        folder = self._folders[index]
        a, b, better = self._open(pair.a, pair.where, folder), self._open(pair.b, pair.where, folder), pair.better
        if self._swap_seed is not None and _heads(self._swap_seed, name):
            a, b, better = b, a, better.swapped
        source = self._open(pair.source, pair.where, folder) if pair.source is not None else None
        return Preference(name, self._prompt(pair, self._prompt_ids[index], source), a, b, better, pair.subset)

    def __iter__(self) -> Iterator[Preference]:
        return self.open(range(len(self)))

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        """The pairs at `indices`, without those that `on_missing=skip` leaves out."""
        for index in indices:
            try:
                pair = self.pair(index)
            except ImageError as error:
                if self._on_missing == "error":
                    raise
                self.skipped.append(str(error))
                log.warning("left out: %s", error)
                continue
            yield pair

    def for_prompt(self, prompt: Prompt, n: int, seed: int) -> list[Preference]:
        """At most n pairs of a prompt's text, and of its source image if it has one, in an order that the seed decides; those
        that people call equal teach nothing and are not among them.

        Pairs that share no image come first: of what was learnt on one pair, another that shows the same image is no test.
        """
        rows = [row for row in self._by_text.get(prompt.text, ()) if self._pairs[row].better is not Outcome.TIE]
        taken: list[tuple[Path, ImageRef]] = []
        disjoint: list[int] = []
        others: list[int] = []
        for row in sorted(rows, key=lambda row: hashlib.sha256(f"{seed}/{self.ids[row]}".encode()).digest()):
            images = [(self._folders[row], image) for image in (self._pairs[row].a, self._pairs[row].b)]
            if any(image in taken for image in images):
                others.append(row)
            else:
                disjoint.append(row)
                taken += images
        found = self.open([*disjoint, *others])
        pairs = (p for p in found if _same(p.prompt.source, prompt.source) and p.prompt.references == prompt.references)
        return list(itertools.islice(pairs, n))

    @cached_property
    def _by_text(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = defaultdict(list)
        for index, pair in enumerate(self._pairs):
            rows[pair.text].append(index)
        return rows

    def _prompts_of_pairs(self) -> Iterator[str]:
        """An id for each pair, shared by those of one prompt: of one text, and of one source. A source inside of a table is
        read where its text comes more than once."""
        texts = Counter(pair.text for pair in self._pairs)
        several, first = len(self._images) > 1, dict[tuple[object, ...], str]()
        for pair, name, folder in zip(self._pairs, self.ids, self._folders, strict=True):
            source: object = pair.source
            if isinstance(source, str) and several:
                source = str(folder / source)
            elif isinstance(source, Cell) and texts[pair.text] > 1:
                source = content_digest(source)
            if pair.prompt_id:
                yield first.setdefault((folder, pair.prompt_id), f"{folder}/{pair.prompt_id}" if several else pair.prompt_id)
            else:
                yield first.setdefault((pair.text, source), name) if isinstance(source, str | None) else name

    def _opened_in(self, ref: ImageRef, where: str, folder: Path) -> Image:
        return self._images[folder].open(ref, where)

    def _open(self, ref: ImageRef, where: str, folder: Path) -> Image:
        return self._opened(ref, where, folder) if isinstance(ref, str) else self._opened_in(ref, where, folder)

    def _prompt(self, pair: UnopenedPair, prompt_id: str, source: Image | None) -> Prompt:
        if source is None and not pair.metadata:
            return self._prompts(prompt_id, pair.text)
        return Prompt(prompt_id, pair.text, pair.metadata, source)


def _pairs(row: Row, of_row: Callable[[Row], Iterable[UnopenedPair | str]]) -> list[UnopenedPair | str]:
    """Whatever a reader stumbles over is a fault of the row."""
    try:
        return list(of_row(row))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise UserError(
            f"{row.where} is no row of this format ({type(error).__name__}: {error}). Is this the right file and format?"
        ) from error


def rank_pairs(ranks: Sequence[float]) -> list[tuple[int, int, Outcome]]:
    """Every pair i < j of a ranking, lower being better, with the label that follows."""
    return [(i, j, Outcome.higher(ranks[j], ranks[i])) for i, j in itertools.combinations(range(len(ranks)), 2)]


def _same(a: Image | None, b: Image | None) -> bool:
    return a is b or (a is not None and b is not None and a.size == b.size and a.tobytes() == b.tobytes())


def _heads(seed: int, name: str) -> bool:
    return bool(hashlib.sha256(f"{seed}/{name}".encode()).digest()[0] & 1)


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """The names; the second of a kind gets "#2" behind it, and so on."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(unique)
