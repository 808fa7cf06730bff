"""Files that people read and edit, and the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from arr_rpo.judge.rubric_reply import to_json
from arr_rpo.rubric.files import from_yaml, read_rubrics, to_yaml
from arr_rpo.rubric.store import RubricStore, Stored
from arr_rpo.types import Criterion, Rubric, UserError

YAML, JSON = Path("x.yaml"), Path("x.json")
LINE = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=20)
LINES = LINE.map(str.strip).filter(bool)
CRITERION = st.builds(Criterion, LINES, LINES, st.floats(1e-6, 1000), st.just("") | LINES)
TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
ORIGIN = st.dictionaries(st.sampled_from(["writer", "source", "judge"]) | LINES, TEXT, max_size=3)
PROMPT = TEXT.filter(str.strip)
RUBRIC = st.builds(
    lambda criteria, origin, prompt: Rubric(tuple(criteria), {**origin, **({"prompt": prompt} if prompt else {})}),
    st.lists(CRITERION, min_size=1, max_size=4, unique_by=lambda c: c.question),
    ORIGIN.filter(lambda origin: "prompt" not in origin),
    st.none() | PROMPT,
)


@settings(max_examples=60, deadline=None)
@given(RUBRIC)
def test_yaml_and_json_give_back_what_was_written(rubric: Rubric) -> None:
    assert from_yaml(to_yaml(rubric), YAML) == [rubric]
    assert from_yaml(json.dumps(to_json(rubric)), JSON) == [rubric]
    assert from_yaml(to_yaml(from_yaml(json.dumps(to_json(rubric)), JSON)[0]), YAML) == [rubric]


def test_a_person_can_read_it() -> None:
    criteria = (Criterion("number", "are there two?", 1.0, "numbers"), Criterion("color", "is it red?", 2.5))
    text = to_yaml(Rubric(criteria, {"prompt": "two red\nthings", "writer": "shapes", "heldout_accuracy": "1.000"}))
    lines = text.splitlines()
    assert lines[0].startswith("# A rubric. Edit it freely")
    assert lines[1:4] == ["# prompt: two red things", "# writer: shapes", "# heldout_accuracy: 1.000"]
    data = yaml.safe_load(text)
    assert data["prompt"] == "two red\nthings"
    assert data["criteria"] == [
        {"theme": "numbers", "name": "number", "question": "are there two?"},
        {"name": "color", "question": "is it red?", "weight": 2.5},
    ]


def test_an_edited_file_counts_as_it_stands_and_says_so() -> None:
    rubric = Rubric((Criterion("color", "is it red?"),), {"prompt": "p", "heldout_accuracy": "1.000"})
    [edited] = from_yaml(to_yaml(rubric).replace("is it red?", "is it blue?"), YAML)
    assert edited.criteria == (Criterion("color", "is it blue?"),)
    assert edited.provenance == {**rubric.provenance, "edited": "yes"}


def test_several_in_one_file() -> None:
    text = "rubrics:\n- prompt: p\n  criteria:\n  - {name: a, question: b}\n- criteria: [{name: c, question: d}]\n"
    assert from_yaml(text, YAML) == [
        Rubric((Criterion("a", "b"),), {"prompt": "p"}),
        Rubric((Criterion("c", "d"),), {}),
    ]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("criteria:\n- name: a\n  question: b?\n- name: c\n  question: yes\n", 4, "criterion 2: question must be text"),
        ("criteria:\n- name: a\n  question: b?\n- name: c\n", 4, "criterion 2: it has a name"),
        ("# a comment\ncriteria: []\n", 2, "0 criteria"),
        ("prompt: p\ncriteria: red\n", 2, "must be a list"),
        ("criteria:\n- name: a\n  question: 'b?\n", 4, "not YAML"),
        ("criteria:\n\t- name: a\n", 2, "not YAML"),
        ("criteria:\n- name: a\n  question: b?\n  name: c\n", 4, "'name' stands twice"),
        ("\ncriterion: []\n", 2, "unknown key 'criterion'"),
        ("prompt: 3\ncriteria: [{name: a, question: b}]\n", 1, "`prompt` must be text"),
        ("criteria: [{name: a, question: b}]\nprovenance: {n: 3}\n", 1, "put numbers into quotes"),
        ("- a\n", 1, "no `criteria`"),
        ("rubrics:\n- criteria: [{name: a, question: b}]\n- criteria:\n  - {name: a}\n", 4, "criterion 1"),
        ("criteria: [{name: a, question: b}]\ncriteria: !!python/object:os.system []\n", 2, "twice"),
    ],
)
def test_a_malformed_yaml_file_is_named_with_line_and_fix(text: str, line: int, why: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_rubrics(path)
    assert f"{path}, line {line}: " in str(caught.value)
    assert why in str(caught.value)
    assert "Mend it" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{\n "criteria": [\n  {"name": "a"}\n ]\n}', 3),
        ('{\n "criteria": [\n  {"name": "a", "question": "b?"},\n ]\n}', 4),
        ('{"criteria":\n [{"name": "a", "question": "b?", "weight": -1}]}', 2),
    ],
)
def test_a_malformed_json_file_is_named_with_line(text: str, line: int) -> None:
    with pytest.raises(UserError, match=rf"^x\.json, line {line}: "):
        from_yaml(text, JSON)


def test_no_text_and_no_code(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        read_rubrics(path)
    with pytest.raises(UserError, match="not YAML"):
        from_yaml("criteria: !!python/object/apply:os.getcwd []\n", YAML)


IDENTITY = {"writer": "x", "prompt": "p"}
RED = Rubric((Criterion("color", "is it red?"),), {**IDENTITY, "heldout_accuracy": "0.750"})


def test_the_store_returns_what_was_put_whatever_came_of_it(tmp_path: Path) -> None:
    store = RubricStore(tmp_path / "new")
    assert store.get(IDENTITY) is None
    path = store.put(IDENTITY, RED, [{"pair": "1", "steps": ["written"]}])
    assert store.get(IDENTITY) == Stored(RED)
    assert store.get({**IDENTITY, "writer": "y"}) is None
    assert json.loads(path.read_text(encoding="utf-8"))["history"] == [{"pair": "1", "steps": ["written"]}]
    assert [f.name for f in path.parent.iterdir()] == [path.name]  # nothing half written lies about


def test_the_store_knows_what_was_discarded(tmp_path: Path) -> None:
    store = RubricStore(tmp_path)
    store.put(IDENTITY, None, [])
    assert store.get(IDENTITY) == Stored(None)


def test_an_edited_file_of_the_store_is_used(tmp_path: Path) -> None:
    store = RubricStore(tmp_path)
    path = store.put(IDENTITY, RED, [])
    path.write_text(path.read_text(encoding="utf-8").replace("red", "blue"), encoding="utf-8")
    stored = store.get(IDENTITY)
    assert stored is not None
    assert stored.rubric == Rubric((Criterion("color", "is it blue?"),), {**RED.provenance, "edited": "yes"})


@pytest.mark.parametrize("text", ["{}", "", '{"criteria": []}', '{"criteria": [], "provenance": {}'])
def test_a_broken_file_of_the_store_is_named(text: str, tmp_path: Path) -> None:
    store = RubricStore(tmp_path)
    path = store.put(IDENTITY, RED, [])
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=path.name):
        store.get(IDENTITY)
