"""Shuffled rubrics and dropped criteria."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.data.prompts import read_prompts
from arr_rpo.rubric.controls import Dropout, Rotation, Shuffled
from arr_rpo.rubric.files import to_yaml
from arr_rpo.rubric.sources import FromFile, PerPrompt
from arr_rpo.types import Prompt, UserError
from tests.rubric.doubles import ORACLE, questions, rubric_of

HELDOUT = read_prompts("shapes/heldout")
USUAL: dict[str, Any] = {"columns": None, "image_root": None}


def test_shuffled_is_never_a_prompts_own(tmp_path: Path) -> None:
    own_source = PerPrompt(store=str(tmp_path))
    whole = own_source.rubrics(HELDOUT, ORACLE)
    source = Shuffled(source=own_source, prompts="shapes/train", **USUAL, seed=1)
    shuffled = source.rubrics(HELDOUT, ORACLE)
    for prompt, mine, other in zip(HELDOUT, whole, shuffled, strict=True):
        assert mine is not None
        assert other is not None
        assert {c.question for c in mine.criteria} != {c.question for c in other.criteria}
        assert other.provenance["prompt"] != prompt.text
        assert other.provenance["shuffled_to"] == prompt.text
    assert source.rubrics(HELDOUT[7:9], ORACLE) == shuffled[7:9]  # by the prompt alone, whatever else is asked for
    assert Shuffled(source=own_source, prompts="shapes/train", **USUAL, seed=2).rubrics(HELDOUT[:9], ORACLE) != shuffled[:9]


def test_another_wording_of_a_prompt_is_no_other_rubric(tmp_path: Path) -> None:
    texts = ["a photo of a circle", "a picture of a circle", "a drawing of a circle", "a photo of a star"]
    (tmp_path / "prompts.txt").write_text("\n".join(texts), encoding="utf-8")
    rubrics = [{"prompt": text, "criteria": [{"name": "n", "question": text.split()[-1]}]} for text in texts]
    (tmp_path / "rubrics.json").write_text(json.dumps({"rubrics": rubrics}), encoding="utf-8")
    for seed in range(5):
        source = Shuffled(
            source=FromFile(path=str(tmp_path / "rubrics.json")), prompts=str(tmp_path / "prompts.txt"), **USUAL, seed=seed
        )
        found = questions(source.rubrics([Prompt(text, text) for text in texts], ORACLE))
        assert found == [["star"]] * 3 + [["circle"]]


def test_there_is_nothing_to_shuffle_where_all_rubrics_are_one() -> None:
    source = Shuffled(source=FromFile(path="fixed_five_shapes"), prompts="shapes/unseen", **USUAL, seed=1)
    with pytest.raises(UserError, match="no prompt of shapes/unseen has another rubric"):
        source.rubrics(HELDOUT[:1], ORACLE)


def test_a_prompt_without_a_rubric_has_none_when_shuffled(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rubrics: [{prompt: p, criteria: [{name: n, question: x}]}]\n", encoding="utf-8")
    pool = tmp_path / "prompts.txt"
    pool.write_text("p\nq\n", encoding="utf-8")
    assert Shuffled(source=FromFile(path=str(path)), prompts=str(pool), **USUAL, seed=1).rubrics(
        [Prompt("2", "q")], ORACLE
    ) == [None]


def test_dropout_keeps_a_share_and_never_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(to_yaml(rubric_of(*(f"{i}?" for i in range(10)))), encoding="utf-8")
    whole = FromFile(path=str(path))
    prompts = [Prompt(str(i), f"prompt {i}") for i in range(300)]
    kept = questions(Dropout(source=whole, p=0.7, seed=1).rubrics(prompts, ORACLE))
    assert all(kept)
    order = [f"{i}?" for i in range(10)]
    assert all(some == [q for q in order if q in some] for some in kept if some)
    # 3000 criteria, each kept with 0.3 (and one of ten where all would go, 0.7^10 = 0.028): 0.3028, standard error 0.0084
    assert sum(len(some or []) for some in kept) / 3000 == pytest.approx(0.3028, abs=0.03)
    assert questions(Dropout(source=whole, p=0.7, seed=1).rubrics(prompts[5:7], ORACLE)) == kept[5:7]
    assert questions(Dropout(source=whole, p=0.7, seed=2).rubrics(prompts, ORACLE)) != kept
    assert {len(some or []) for some in questions(Dropout(source=whole, p=1.0, seed=1).rubrics(prompts, ORACLE))} == {1}
    assert questions(Dropout(source=whole, p=0.0, seed=1).rubrics(prompts[:1], ORACLE)) == [order]
    with pytest.raises(UserError, match=r"p=1\.5"):
        Dropout(source=whole, p=1.5, seed=1)


def ten(tmp_path: Path) -> FromFile:
    path = tmp_path / "a.yaml"
    path.write_text(to_yaml(rubric_of(*(f"{i}?" for i in range(10)))), encoding="utf-8")
    return FromFile(path=str(path))


def asked_at(source: Any, update: int | None, *texts: str) -> list[list[str] | None]:
    source.update = update
    return questions(source.rubrics([Prompt(text, text) for text in texts], ORACLE))


def test_dropout_anew_each_update(tmp_path: Path) -> None:
    source = Dropout(source=ten(tmp_path), p=0.5, seed=1, redraw=True)
    assert asked_at(source, None, "p") == [[f"{i}?" for i in range(10)]]  # what measures see
    by_update = [asked_at(source, update, "p", "q") for update in range(20)]
    assert asked_at(source, 3, "p", "q") == by_update[3]
    assert len({str(rubrics) for rubrics in by_update}) == 20
    assert all(p != q for p, q in by_update)
    kept = [len(rubric or []) for rubrics in by_update for rubric in rubrics]
    assert sum(kept) / len(kept) == pytest.approx(5, abs=0.75)  # standard error 0.25


def test_rotation_has_disjoint_parts_that_take_turns(tmp_path: Path) -> None:
    source = Rotation(source=ten(tmp_path), parts=3, seed=1)
    assert asked_at(source, None, "p") == [[f"{i}?" for i in range(10)]]
    turns = [asked_at(source, update, "p")[0] or [] for update in range(6)]
    assert turns[:3] == turns[3:]
    assert sorted(map(len, turns[:3])) == [3, 3, 4]
    assert sorted(question for turn in turns[:3] for question in turn) == [f"{i}?" for i in range(10)]
    assert asked_at(Rotation(source=ten(tmp_path), parts=3, seed=2), 0, "p")[0] != turns[0]
    path = tmp_path / "few.yaml"
    path.write_text(to_yaml(rubric_of("alone?")), encoding="utf-8")
    assert asked_at(Rotation(source=FromFile(path=str(path)), parts=2, seed=1), 1, "p") == [["alone?"]]
    with pytest.raises(UserError, match="parts=1"):
        Rotation(source=ten(tmp_path), parts=1, seed=1)
