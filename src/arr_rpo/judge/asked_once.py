"""A judge that is asked the same thing once, by whichever of several rewards."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from PIL.Image import Image

from arr_rpo.judge.base import Judge, Pair
from arr_rpo.types import Answer, Cost, Critique, Prompt, Rubric, Verdict

T = TypeVar("T", bound="Answer | Verdict | Critique")


class AskedOnce:
    """See `Judge`. Remembers answers for as long as it lives, of the same objects: not of pictures that look alike. A
    remembered answer costs nothing. What failed is asked again."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._known: dict[tuple[Any, ...], Any] = {}
        self._kept: list[Any] = []  # so that no other object gets the id of one that is remembered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judge, name)

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        return self._answers("compare", self._judge.compare, prompts, pairs, rubrics)

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Answer]:
        return self._answers("score", self._judge.score, prompts, images)

    def check(self, prompts: Sequence[Prompt], images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        return self._answers("check", self._judge.check, prompts, images, questions)

    def critique(self, prompts: Sequence[Prompt], images: Sequence[Image], dimensions: Sequence[str]) -> list[Critique]:
        kind = json.dumps(["critique", *dimensions])
        return self._answers(kind, lambda p, i: self._judge.critique(p, i, dimensions), prompts, images)

    def _answers(self, kind: str, ask: Callable[..., list[T]], *asked: Sequence[Any]) -> list[T]:
        rows: list[tuple[Any, ...]] = list(zip(*asked, strict=True))
        keys = [_key(kind, row) for row in rows]
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._known}
        made: dict[tuple[Any, ...], T] = {}
        if new:
            made = dict(zip(new, ask(*zip(*new.values(), strict=True)), strict=True))
        given = {key: answer for key, answer in made.items() if answer.failure is None}
        self._known |= given
        self._kept += [new[key] for key in given]
        unpaid, answers = set(new), []
        for key in keys:
            answer: T = made[key] if key in made else self._known[key]
            answers.append(answer if key in unpaid else replace(answer, cost=Cost()))
            unpaid.discard(key)
        return answers


def _key(kind: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Words and a rubric's criteria by what they say, all else by identity."""

    def same(part: Any) -> Any:
        if isinstance(part, str):
            return part
        return part.criteria if isinstance(part, Rubric) else tuple(map(id, part if isinstance(part, tuple) else [part]))

    return kind, *map(same, row)
