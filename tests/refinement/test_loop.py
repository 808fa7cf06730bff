"""The loop: who is drawn again, from what, and which picture is the best of them."""

from __future__ import annotations

from typing import Any

import pytest

from arr_rpo.refinement.base import best
from arr_rpo.refinement.loop import RefinementLoop
from arr_rpo.refinement.steps import Redraw, Rewrite
from arr_rpo.reward.point_protocols import Score
from arr_rpo.types import Cost, Prompt, UserError
from tests.refinement.doubles import CRITIC, Painter, ScriptedJudge, Writer, values

PROMPTS = [Prompt("p0", "a cat"), Prompt("p1", "a dog")]


def loop(judge: ScriptedJudge, **changes: Any) -> RefinementLoop:
    settings: dict[str, Any] = {
        "policy": Painter(),
        "judge": judge,
        "critic": CRITIC,
        "refinement": Redraw(),
        "rounds": 3,
        "good_enough": None,
        "seed": 7,
    }
    return RefinementLoop(**{**settings, **changes})


@pytest.mark.parametrize(
    ("grades", "place"),
    [
        ([0.2, 0.9, 0.5], 1),
        ([0.5, 0.5, 0.5], 0),  # the first of equal ones
        ([None, 0.0, None], 1),  # the worst grade is more than none
        ([0.3, None, 0.2], 0),
        ([None, None], 0),  # nothing is known: the first stays
        ([0.4], 0),
    ],
)
def test_the_highest_grade_is_the_best(grades: list[float | None], place: int) -> None:
    assert best(grades) == place


def test_each_round_is_recorded() -> None:
    judge = ScriptedJudge([[2, 4, 1], [1, None, 2.5]])
    first, second = loop(judge).run(PROMPTS)
    assert values(first) == pytest.approx([1 / 3, 1, 0])  # grades of 1 to 4, scaled to [0, 1]
    assert values(second) == [0, None, pytest.approx(0.5)]
    assert [a.grade.reason for a in second] == ["critique 1.1", "no reply", "critique 1.3"]
    assert first[0].grade.checks == (("objects", "objects", 0.5),)  # the other does not apply
    assert [a.seed for a in second] == [(7, "p1", 1), (7, "p1", 2), (7, "p1", 3)]
    assert [a.image.getpixel((0, 0)) for a in second] == [(1, 1, 5), (1, 2, 5), (1, 3, 5)]
    assert {a.text for a in first} == {"a cat"}


def test_a_prompt_is_left_when_a_picture_is_good_enough() -> None:
    painter = Painter()
    judge = ScriptedJudge([[1, 3.7, 4], [4, 1, 1], [None, 1, 1]])
    prompts = [*PROMPTS, Prompt("p2", "a cow")]
    trails = loop(judge, policy=painter, good_enough=0.9).run(prompts)
    assert [len(trail) for trail in trails] == [2, 1, 3]  # 3.7 is (3.7 - 1) / 3 = 0.9; a failure is never good enough
    assert [text for text, _ in painter.asked] == ["a cat", "a dog", "a cow", "a cat", "a cow", "a cow"]
    assert [len(t) for t in loop(ScriptedJudge([[4, 4, 4]])).run(prompts[:1])] == [3]  # null goes through all rounds


def test_nothing_of_a_prompt_depends_on_the_others() -> None:
    grades = [[1, 2, 4], [4, 1, 1], [2, 4, 3]]
    prompts = [*PROMPTS, Prompt("p2", "a cow")]
    together = loop(ScriptedJudge(grades), good_enough=1.0).run(prompts)
    alone = [loop(ScriptedJudge(grades), good_enough=1.0).run([p])[0] for p in prompts]
    assert together == alone


def test_the_judge_is_shown_the_prompt_and_the_policy_the_better_one() -> None:
    writer = Writer(['{"prompt": "a big cat"}', "no JSON", '{"prompt": "one cat"}'])
    painter, judge = Painter(), ScriptedJudge([[1, 2, 3, 1]], writer)
    [trail] = loop(judge, policy=painter, rounds=4, refinement=Rewrite(max_characters=99)).run(PROMPTS[:1])
    assert judge.asked == ["a cat"] * 4
    assert [text for text, _ in painter.asked] == ["a cat", "a big cat", "a big cat", "one cat"]
    assert [a.text for a in trail] == [text for text, _ in painter.asked]
    assert [bool(a.unread) for a in trail] == [False, False, True, False]
    assert writer.asked == [  # the prompt, what was drawn, the picture, what was said of it
        ("a cat", "a cat", (0, 1, 5), "critique 0.1", 99),
        ("a cat", "a big cat", (0, 2, 9), "critique 0.2", 99),
        ("a cat", "a big cat", (0, 3, 9), "critique 0.3", 99),
    ]
    assert [a.writing for a in trail] == [Cost(), *[Cost(1, 100)] * 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "rounds=0"),
        ({"good_enough": 4}, "good_enough=4"),
        ({"good_enough": 0.0}, r"good_enough=0\.0"),
        ({"critic": Score(tie_margin=0.1)}, "reward/protocol@critic"),
        ({"refinement": Rewrite(max_characters=9)}, r"'scripted' writes no prompts.*qwen3_vl.*refinement=redraw"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_drawn(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loop(ScriptedJudge([]), **changes)
