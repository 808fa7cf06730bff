"""The texts a judge is asked with: which there are, and what is said in which role."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from arr_rpo.judge.wording import CORE, EDITED, EDITING, FOLDER, REFERENCE, ROLES, Wording, render
from arr_rpo.types import Criterion, Rubric, UserError


def a_style(folder: Path, *roles: str) -> Path:
    folder.mkdir()
    for role in roles:
        (folder / f"{role}.txt").write_text(f"{role}: {{prompt}}\n", encoding="utf-8")
    return folder


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        Wording(tmp_path / "nowhere")
    message = str(caught.value)
    assert all(word in message for word in (str(tmp_path / "nowhere"), "default", "shapes"))
    assert all(f"{role}.txt" in message for role in CORE)


def test_missing_file_is_named_alone(tmp_path: Path) -> None:
    folder = a_style(tmp_path / "mine", *(r for r in ROLES if r != "score"))
    with pytest.raises(UserError, match=r": score\.txt not found in "):
        Wording(folder)


def test_a_role_without_a_text_cannot_be_asked(tmp_path: Path) -> None:
    """Not every model was taught to plan: the error names who was."""
    wording = Wording(a_style(tmp_path / "mine", *CORE))
    assert wording.say("write", prompt="x") == "write: x"
    for ask in (lambda: wording("plan", prompt="x"), lambda: wording.digest("plan")):
        with pytest.raises(UserError, match=r"no text for the role 'plan'.*default, shapes, or add"):
            ask()


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    folder = a_style(tmp_path / "mine", *ROLES)
    (folder / "check.txt").write_text("of {prompt!j}:\n{images}\n{question}\n", encoding="utf-8")
    wording = Wording(folder)
    assert wording("score", prompt="a {red} star") == ("", "score: a {red} star")  # no newline; braces of a prompt are text
    assert wording("check", prompt='two\n"cats"', question="is it {red}?") == ('of "two\\n\\"cats\\"":\n', "\nis it {red}?")
    assert wording.say("write", prompt="x") == "write: x"
    assert wording.digest("score") == hashlib.sha256(b"score: {prompt}").hexdigest()[:16]
    assert wording.digest("score") != wording.digest("write")


def test_texts_for_editing_replace_those_of_their_roles(tmp_path: Path) -> None:
    folder = a_style(tmp_path / "mine", *ROLES)
    with pytest.raises(UserError, match=r"no texts for editing: add .*edit, or use wording=default"):
        Wording(folder)("score", edit=True, prompt="x")
    plain = Wording(folder).digest("score"), Wording(folder).digest("write")
    edit = a_style(folder / "edit", "score")
    with pytest.raises(UserError, match=r"source_label\.txt"):
        Wording(folder)
    (edit / "source_label.txt").write_text("source:", encoding="utf-8")
    with pytest.raises(UserError, match=r"edited_label\.txt"):
        Wording(folder)
    (edit / "edited_label.txt").write_text("result:", encoding="utf-8")
    (edit / "score.txt").write_text("edited: {prompt}", encoding="utf-8")
    wording = Wording(folder)
    assert wording.say("score", edit=True, prompt="x") == "edited: x"
    assert (wording.labels(1, edit=True), wording.labels(1, edit=False)) == (["result:"], [""])
    assert wording.say("score", prompt="x") == "score: x"
    assert wording.say("write", edit=True, prompt="x") == "write: x"
    assert wording.digest("score") != plain[0]
    assert wording.digest("write") != plain[1]  # the source's label is said in every role
    (edit / "score.txt").write_text("the edit: {prompt}", encoding="utf-8")
    assert Wording(folder).digest("score") != wording.digest("score")
    assert Wording(folder).digest("write") == wording.digest("write")


def test_render_numbers_the_questions_under_their_themes() -> None:
    questions = ["is there a star?", "is it red?"]
    rubric = Rubric(tuple(Criterion(name=f"c{i}", question=q) for i, q in enumerate(questions)))
    assert render(questions) == render(rubric) == "1. is there a star?\n2. is it red?"
    themed = Rubric(tuple(replace(c, theme="T" if i else "S") for i, c in enumerate(rubric.criteria)))
    assert render(themed) == "S:\n1. is there a star?\nT:\n2. is it red?"


def test_every_file_is_a_role_and_editing_differs_where_a_picture_is_spoken_of() -> None:
    shown = {role for role in ROLES if "image" in _read("default", role) and role not in ("describe", "label", "structure")}
    assert {path.stem for path in (FOLDER / "default" / "edit").iterdir()} == {*EDITED, REFERENCE, *shown} - {"grade"}
    taught = set(ROLES) - {"refine_prompt"}  # what a small model was not: to write free text
    for style, roles in (("default", ROLES), ("shapes", taught)):
        assert {path.stem for path in (FOLDER / style).glob("*.txt")} == set(roles)
    assert set(EDITING) == {*EDITED, REFERENCE, *ROLES}


def _read(style: str, name: str) -> str:
    return (FOLDER / style / f"{name}.txt").read_text(encoding="utf-8")
