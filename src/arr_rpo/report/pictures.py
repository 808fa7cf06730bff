"""Pictures inside of a page, each once, as a data URI, as large as the page's budget allows; and those of held-out prompts side
by side: the base and each arm, from the same initial noise."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from arr_rpo.plain_files import read_bytes
from arr_rpo.report.study import HeldoutPrompt, Study

MOST_BYTES = 64 * 2**20  # of a picture's file
PIXEL_ART = 96  # pixels: up to this side a picture is kept exactly, if all fit
SMALLER = (1.0, 0.75, 0.5, 0.375, 0.25)  # of the largest side
SAMPLE = 40  # pictures by which the size of all is estimated

Thing = TypeVar("Thing")
Encoded = dict[str, str | int]  # src, width, height


class Album:
    """The pictures of one page. side: pixels of the longer side at most. budget: characters that they may take together."""

    def __init__(self, side: int, budget: float) -> None:
        self.side, self.budget = side, budget
        self._images: list[Image.Image] = []
        self._known: dict[str, int] = {}

    def add(self, path: Path) -> int | None:
        """The picture's number in this page; None of a file that is no whole picture."""
        try:
            content = read_bytes(path, MOST_BYTES)
            name = hashlib.sha256(content).hexdigest()
            if name not in self._known:
                self._images.append(self._opened(content))
                self._known[name] = len(self._images) - 1
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError):
            return None
        return self._known[name]

    def encoded(self) -> list[Encoded]:
        """All of them, in the first form that a sample says will fit: exact where small, then smaller and smaller."""
        forms = [(self.side, PIXEL_ART), *((round(self.side * share), 0) for share in SMALLER)]
        some = self._images[:: max(1, len(self._images) // SAMPLE)]
        fitting = (form for form in forms if self._mean_size(some, *form) * len(self._images) <= self.budget)
        form = next(fitting, forms[-1])
        return [encode(image, *form) for image in self._images]

    def _opened(self, content: bytes) -> Image.Image:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:  # what runs write; others start programs, or worse
            image = opened.convert("RGB")
        image.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        return image

    @staticmethod
    def _mean_size(images: Sequence[Image.Image], side: int, exact: int) -> float:
        return sum(len(str(encode(image, side, exact)["src"])) for image in images) / max(1, len(images))


def encode(image: Image.Image, side: int, exact: int) -> Encoded:
    """As WebP: without loss up to `exact` pixels, scaled to `side` beyond it."""
    lossless = max(image.size) <= exact
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "WEBP", lossless=lossless, quality=75, method=2)
    source = f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"
    return {"src": source, "width": image.width, "height": image.height}


# -- held-out prompts -----------------------------------------------------------------------------------------------------


def grids(study: Study, album: Album, prompts: int, replicates: int) -> list[dict[str, Any]]:
    """One for each of the first `replicates` with pictures: `title`, `columns`, and `rows` of at most `prompts` prompts."""
    found: list[dict[str, Any]] = []
    by_replicate = sorted(study.runs, key=lambda run: (run.of, run.seed is None, run.seed or 0))
    for which in dict.fromkeys(run.which for run in by_replicate):
        by_arm: dict[str, dict[str, HeldoutPrompt]] = {}
        for run in sorted((run for run in study.runs if run.which == which), key=lambda run: not run.finished):
            by_arm.setdefault(run.arm, _pictured(run.heldout))  # of several replicates alike: that which is compared
        ids = list(dict.fromkeys(name for some in by_arm.values() for name in some))
        if ids and len(found) < replicates:
            rows = [_row(study.arms, by_arm, name, album) for name in evenly(ids, prompts)]
            found.append({"title": which or "one run", "columns": ["base", *study.arms], "rows": rows})
    return found


def _pictured(prompts: Sequence[HeldoutPrompt]) -> dict[str, HeldoutPrompt]:
    return {f"{prompt.split} {prompt.prompt_id}": prompt for prompt in prompts if prompt.pictures}


def _row(arms: Sequence[str], by_arm: dict[str, dict[str, HeldoutPrompt]], name: str, album: Album) -> dict[str, Any]:
    known = [some[name] for some in by_arm.values() if name in some]
    base = next((prompt for prompt in known if "base" in prompt.pictures), None)
    cells = [_cell(base, "base", album), *(_cell(by_arm.get(arm, {}).get(name), "trained", album) for arm in arms)]
    source = known[0].pictures.get("source")
    kind = f"{known[0].tag}, {known[0].split}"
    return {"prompt": known[0].text, "kind": kind, "source": album.add(source) if source else None, "cells": cells}


def _cell(prompt: HeldoutPrompt | None, which: str, album: Album) -> dict[str, Any] | None:
    if prompt is None or which not in prompt.pictures:
        return None
    number = album.add(prompt.pictures[which])
    measured = prompt.before if which == "base" else prompt.after
    value = next((one.value for one in measured.values()), None)  # the run's own measure
    return None if number is None else {"picture": number, "met": bool(value) if value in (0.0, 1.0) else None, "value": value}


def evenly(some: Sequence[Thing], count: int) -> list[Thing]:
    """At most `count` of them, evenly spread: prompts are stored by kind."""
    if not some:
        return []
    places = np.unique(np.linspace(0, len(some) - 1, min(count, len(some))).round().astype(int))
    return [some[place] for place in places]
