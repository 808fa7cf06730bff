"""Prompts that leave something open: disjoint in content from what is held out elsewhere, and really open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.world.open_prompts import open_splits
from arr_rpo.shapes.world.prompts import FOLDER, is_unseen, splits, write_files
from arr_rpo.shapes.world.tastes import TASTES, leaves_open
from tests.shapes.world.test_prompts import asked_for

OPEN = open_splits()
NAMES = ("open_train", "open_heldout")


def test_splits_are_disjoint_in_content_also_from_the_present_ones() -> None:
    train, heldout = ({asked_for(m) for m in OPEN[name]} for name in NAMES)
    present = {name: {asked_for(m) for m in rows} for name, rows in splits().items()}
    assert not train & (heldout | present["heldout"] | present["unseen"])
    assert not heldout & (present["train"] | present["unseen"])
    texts = [m["prompt"] for name in NAMES for m in OPEN[name]]
    assert len(set(texts)) == len(texts)


def test_every_prompt_leaves_several_tastes_open() -> None:
    for name in NAMES:
        for metadata in OPEN[name]:
            assert not is_unseen(metadata)
            assert sum(leaves_open(metadata, question) for question in TASTES) >= 4, metadata["prompt"]


def test_every_annotator_has_a_say_in_both_splits() -> None:
    for who in annotators().values():
        for one, _ in who.tastes:
            for name in NAMES:
                assert sum(leaves_open(m, one.question) for m in OPEN[name]) >= 20, (who.name, one.question, name)


def test_the_new_kind_reads_as_the_others_do() -> None:
    found = {m["prompt"]: m for name in NAMES for m in OPEN[name]}
    both = ("a photo of a red circle and a square", "a photo of a square and a red circle")
    [metadata] = [found[text] for text in both if text in found]  # in one order
    assert metadata["tag"] == "one_color"
    assert {(e["class"], e.get("color")) for e in metadata["include"]} == {("circle", "red"), ("square", None)}


@pytest.mark.parametrize("name", NAMES)
def test_shipped_files_equal_the_splits(name: str, tmp_path: Path) -> None:
    shipped = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = [json.loads(line) for line in shipped.splitlines()]
    assert rows == OPEN[name]
    write_files(OPEN, tmp_path)
    assert (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8") == shipped
    assert [p.text for p in read_prompts(f"shapes/{name}")] == [row["prompt"] for row in rows]
