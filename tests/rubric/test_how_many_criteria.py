"""How many criteria a rubric may have: what it keeps (configs), what writers are asked for (texts) and taught (lessons), and
what is read at the most agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import arr_rpo
from arr_rpo.judge.rubric_reply import MAX_CRITERIA
from arr_rpo.shapes.recipes import lesson_criteria, taught

ROOT = Path(__file__).parents[2]
TEXTS = Path(arr_rpo.__file__).parent / "judge/wordings/default"
HOW_MANY = re.compile(r"(\d+) to (\d+) (?:criteria|candidates|of them)")


def kept(name: str) -> int:
    found = yaml.safe_load((ROOT / f"configs/rubric/{name}.yaml").read_text(encoding="utf-8"))["max_criteria"]
    assert isinstance(found, int)
    return found


def asked(role: str) -> tuple[int, int]:
    [found] = HOW_MANY.findall((TEXTS / f"{role}.txt").read_text(encoding="utf-8"))
    return int(found[0]), int(found[1])


def test_every_rubric_keeps_as_many_and_the_embedded_judge_was_taught_as_many() -> None:
    assert kept("settings/verified") == kept("global_weighted") == lesson_criteria.MOST_CRITERIA
    assert 1 <= kept("global_weighted") <= MAX_CRITERIA


@pytest.mark.parametrize("role", ["write", "plan", "refine", "edit/write", "edit/plan", "edit/refine"])
def test_a_whole_rubric_is_asked_for_with_as_many_as_it_keeps(role: str) -> None:
    assert asked(role)[1] == kept("settings/verified")


@pytest.mark.parametrize("role", ["write_pair", "write_general", "edit/write_pair", "edit/write_general"])
def test_what_explains_a_pair_is_no_more_than_a_rubric(role: str) -> None:
    assert asked(role)[1] <= kept("settings/verified")


@pytest.mark.parametrize("role", ["write_taste", "edit/write_taste"])
def test_candidates_of_which_labels_choose_are_more_than_a_rubric_keeps_and_no_more_than_is_read(role: str) -> None:
    assert asked(role) == (kept("global_weighted"), taught.MOST_NAMED)
    assert taught.MOST_NAMED <= MAX_CRITERIA
