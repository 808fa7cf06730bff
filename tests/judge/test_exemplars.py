"""Labelled pairs before a comparison: of other prompts, both labels, and as turns that were answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from PIL import Image

from arr_rpo.judge.exemplars import Exemplars
from arr_rpo.types import Criterion, Outcome, Preference, Prompt, Rubric, UserError
from tests.judge.test_asking import judge_of

A, B = (Image.new("RGB", (2, 2), (level, 0, 0)) for level in (1, 2))


class Pairs:
    """Pair i: image i + 10 against i + 50; every third is a tie, of the others two prefer A for one that prefers B."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def open(self, indices: Iterable[int]) -> Iterator[Preference]:
        for i in indices:
            better = Outcome.TIE if i % 3 == 0 else Outcome.B if i % 9 == 1 else Outcome.A
            a, b = (Image.new("RGB", (2, 2), (i + more, 0, 0)) for more in (10, 50))
            yield Preference(str(i), Prompt(str(i), f"prompt {i}"), a, b, better)


def exemplars(count: int, of: int = 30, seed: int = 1) -> Exemplars:
    return Exemplars(preferences=Pairs(of), count=count, seed=seed)


def test_other_prompts_and_both_labels() -> None:
    few = exemplars(4)
    shown = few.of(Prompt("x", "a star"))
    assert [pair.better for pair in shown].count(Outcome.A) == 2
    assert [pair.better for pair in shown].count(Outcome.B) == 2
    own = shown[0].prompt
    assert own.text not in [pair.prompt.text for pair in few.of(own)]
    assert len(few.of(own)) == 4
    assert [p.id for p in exemplars(4).of(own)] == [p.id for p in few.of(own)]
    assert [p.id for p in exemplars(4, seed=2).of(own)] != [p.id for p in few.of(own)]


def test_too_few() -> None:
    with pytest.raises(UserError, match="count=9: the preferences have 2"):
        exemplars(9, of=3).of(Prompt("x", "a star"))
    with pytest.raises(UserError, match="count=0"):
        exemplars(0)


def test_they_stand_before_the_question_as_turns_that_were_answered() -> None:
    judge, model = judge_of()
    judge.exemplars = exemplars(2)
    judge.compare([Prompt("x", "a star")], [(A, B)], [None])
    turns: Any = model.asked[0]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    shown = judge.exemplars.of(Prompt("x", "a star"))
    assert [turn["content"][0]["text"] for turn in turns[1::2]] == [str(pair.better) for pair in shown]
    pictures = [[part["image"] for part in turn["content"] if part["type"] == "image"] for turn in turns[::2]]
    assert [image.getpixel((0, 0)) for image in pictures[0]] == [shown[0].a.getpixel((0, 0)), shown[0].b.getpixel((0, 0))]
    assert pictures[2] == [A, B]
    assert [turn["role"] for turn in model.asked[1]].count("assistant") == 2  # the other order has them, too


def test_a_rubric_has_no_use_for_them() -> None:
    judge, _ = judge_of()
    judge.exemplars = exemplars(2)
    with pytest.raises(UserError, match="reward=pairwise"):
        judge.compare([Prompt("x", "a star")], [(A, B)], [Rubric((Criterion("c", "is it?"),))])
