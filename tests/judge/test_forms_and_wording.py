"""Reply forms and the texts a judge is asked with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from arr_rpo.judge.forms import A_B, YES_NO, critique, outline
from arr_rpo.judge.wording import ROLES, Wording, render
from arr_rpo.types import Criterion, Rubric, UserError


def a_style(folder: Path, *roles: str) -> Path:
    folder.mkdir()
    for role in roles:
        (folder / f"{role}.txt").write_text(f"{role}: {{prompt}}\n", encoding="utf-8")
    return folder


def test_critique_of_two_criteria() -> None:
    met = ("0", "1", "2")
    assert critique(["is it red?", "is it round?"]) == (
        *("1. is it red? A:", YES_NO, " B:", YES_NO, "\n"),
        *("2. is it round? A:", YES_NO, " B:", YES_NO, "\n"),
        *("score A:", met, " B:", met, "\nbetter:", A_B),
    )


def test_forms_share_an_outline_whatever_their_texts() -> None:
    assert outline(critique(["is it red?"])) == outline(critique(["are there three blue stars?"]))
    assert outline(critique(["is it red?"])) != outline(critique(["is it red?", "is it round?"]))
    assert outline(("is it ", YES_NO, A_B)) == (None, YES_NO, A_B)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        Wording(tmp_path / "nowhere")
    message = str(caught.value)
    assert str(tmp_path / "nowhere") in message
    assert "default" in message
    assert "shapes" in message
    assert all(f"{role}.txt" in message for role in ROLES)


def test_missing_file_is_named_alone(tmp_path: Path) -> None:
    folder = a_style(tmp_path / "mine", *(r for r in ROLES if r != "score"))
    with pytest.raises(UserError, match=r": score\.txt not found in "):
        Wording(folder)


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    wording = Wording(a_style(tmp_path / "mine", *ROLES))
    assert wording("score", prompt="a {red} star") == "score: a {red} star"  # no newline; braces of a prompt are text
    assert wording.digest("score") == hashlib.sha256(b"score: {prompt}").hexdigest()[:16]
    assert wording.digest("score") != wording.digest("write")


@pytest.mark.parametrize("style", ["shapes", "default"])
def test_shipped_styles_place_their_fields(style: str) -> None:
    wording = Wording(style)
    assert "a red star" in wording("compare", prompt="a red star")
    assert "a red star" in wording("score", prompt="a red star")
    assert "a red star" in wording("write", prompt="a red star")
    assert "is there a star?" in wording("check", question="is there a star?", prompt="a red star")
    rubric = wording("compare_rubric", prompt="a red star", rubric="1. is there a star?")
    assert "a red star" in rubric
    assert "1. is there a star?" in rubric


def test_render_numbers_the_questions() -> None:
    questions = ["is there a star?", "is it red?"]
    rubric = Rubric(tuple(Criterion(name=f"c{i}", question=q) for i, q in enumerate(questions)))
    assert render(questions) == render(rubric) == "1. is there a star?\n2. is it red?"
