"""Rubrics from text, strictly, and the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arr_rpo.rubric.parse import RubricError, parse_rubric
from arr_rpo.rubric.sources import PerPrompt
from arr_rpo.rubric.store import RubricStore
from arr_rpo.types import Cost, Prompt, UserError

GOOD = '{"criteria": [{"name": "object", "question": "is there a circle?"}, {"name": "n", "question": "two?", "weight": 2}]}'


def test_a_good_rubric() -> None:
    rubric = parse_rubric(GOOD, {"writer": "x"})
    assert [(c.name, c.question, c.weight) for c in rubric.criteria] == [
        ("object", "is there a circle?", 1.0),
        ("n", "two?", 2.0),
    ]
    assert rubric.provenance["writer"] == "x"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("no", "not JSON"),
        (GOOD[:-1], "not JSON"),
        (GOOD + "?", "not JSON"),
        ("[]", "one key"),
        ('{"criteria": []}', "0 criteria"),
        ('{"criteria": {}}', "a list"),
        ('{"criteria": [], "x": 1}', "one key"),
        (json.dumps({"criteria": [{"name": "a", "question": f"{i}?"} for i in range(13)]}), "13 criteria"),
        ('{"criteria": ["is it red?"]}', "a name, a question"),
        ('{"criteria": [{"name": "a"}]}', "a name, a question"),
        ('{"criteria": [{"name": "a", "question": " "}]}', "must be text"),
        ('{"criteria": [{"name": 3, "question": "x"}]}', "must be text"),
        ('{"criteria": [{"name": "a", "question": "x", "weight": 0}]}', "positive"),
        ('{"criteria": [{"name": "a", "question": "x", "weight": true}]}', "positive"),
        ('{"criteria": [{"name": "a", "question": "x", "weight": Infinity}]}', "positive"),
        ('{"criteria": [{"name": "a", "question": "x", "label": 1}]}', "a name, a question"),
        ('{"criteria": [{"name": "a", "question": "x"}, {"name": "b", "question": "x"}]}', "asked twice"),
        ('{"criteria": [{"name": "a", "name": "b", "question": "x"}]}', "twice in one object"),
    ],
)
def test_malformed_rubrics_say_why(text: str, why: str) -> None:
    with pytest.raises(RubricError, match=why):
        parse_rubric(text, {})


def test_the_store_returns_what_was_put_and_names_a_broken_file(tmp_path: Path) -> None:
    store, provenance = RubricStore(tmp_path), {"writer": "x", "prompt": "p"}
    assert store.get(provenance) is None
    rubric = parse_rubric(GOOD, provenance)
    path = store.put(rubric)
    assert store.get(provenance) == rubric
    assert store.get({**provenance, "writer": "y"}) is None
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=path.name):
        store.get(provenance)


class CountingWriter:
    name, revision = "counting", "1"

    def __init__(self, reply: str) -> None:
        self.reply, self.asked = reply, 0

    def write_template(self) -> str:
        return "t"

    def write(self, prompts: list[str]) -> tuple[list[str], Cost]:
        self.asked += len(prompts)
        return [self.reply] * len(prompts), Cost(len(prompts), 10)


def test_each_prompt_is_written_for_once(tmp_path: Path) -> None:
    source, writer = PerPrompt(store=str(tmp_path)), CountingWriter(GOOD)
    prompts = [Prompt("1", "p"), Prompt("2", "q"), Prompt("3", "p")]
    first = source.rubrics(prompts, writer)
    assert writer.asked == 2
    assert first == PerPrompt(store=str(tmp_path)).rubrics(prompts, writer)
    assert writer.asked == 2


def test_a_reply_that_is_no_rubric_is_missing_and_counted(tmp_path: Path) -> None:
    source, writer = PerPrompt(store=str(tmp_path)), CountingWriter("sorry")
    assert source.rubrics([Prompt("1", "p")], writer) == [None]
    assert source.failures == 1
    assert not list(tmp_path.iterdir())
