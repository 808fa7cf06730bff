"""Prompts, their splits, scenes for them, and captions with mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arr_rpo.shapes.world.prompts import (
    FOLDER,
    contents,
    describe,
    is_unseen,
    mistaken,
    random_metadata,
    scene_of,
    splits,
    write_files,
)
from arr_rpo.shapes.world.questions import questions_of
from arr_rpo.shapes.world.vocabulary import COLOURS, PHRASINGS, RELATIONS, SHAPES, TAGS, UNSEEN

Metadata = dict[str, Any]
SPLITS = splits()
NAMES = ("train", "heldout", "unseen")
OPPOSITE = {"right of": "left of", "below": "above"}


def asked_for(metadata: Metadata) -> tuple[Any, ...]:
    """What a prompt asks for, the same however it is put ("a left of b" or "b right of a")."""
    kinds = [(e.get("color"), e["class"], e["count"]) for e in metadata["include"]]
    if metadata["tag"] != "position":
        return ("", *sorted(kinds, key=str))
    relation = metadata["include"][1]["position"][0]
    reference, placed = kinds
    return (OPPOSITE[relation], reference, placed) if relation in OPPOSITE else (relation, placed, reference)


def combinations(metadata: Metadata) -> set[tuple[str | None, str]]:
    return {(e.get("color"), e["class"]) for e in metadata["include"]}


def test_splits_are_disjoint_in_content() -> None:
    train, heldout, unseen = ({asked_for(m) for m in SPLITS[name]} for name in NAMES)
    assert not train & heldout
    assert not train & unseen
    assert not heldout & unseen
    texts = [m["prompt"] for name in NAMES for m in SPLITS[name]]
    assert len(set(texts)) == len(texts)


def test_unseen_combinations_are_in_the_unseen_split_alone() -> None:
    assert all(not combinations(m) & UNSEEN for name in ("train", "heldout") for m in SPLITS[name])
    assert all(combinations(m) & UNSEEN for m in SPLITS["unseen"])
    words = [f"{color} {shape}" for color, shape in UNSEEN]
    assert not [m for name in ("train", "heldout") for m in SPLITS[name] if any(w in m["prompt"] for w in words)]


def test_heldout_is_large_and_of_every_kind() -> None:
    assert len(SPLITS["heldout"]) >= 500
    assert {m["tag"] for m in SPLITS["heldout"]} == set(TAGS) == {m["tag"] for m in SPLITS["train"]}


@pytest.mark.parametrize("name", NAMES)
def test_shipped_files_equal_the_splits(name: str, tmp_path: Path) -> None:
    shipped = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in shipped.splitlines()] == SPLITS[name]
    write_files(SPLITS, tmp_path)
    assert (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8") == shipped


def test_another_seed_splits_otherwise() -> None:
    assert {asked_for(m) for m in splits(1)["heldout"]} != {asked_for(m) for m in SPLITS["heldout"]}


@pytest.mark.parametrize("name", NAMES)
def test_geneval_schema(name: str) -> None:
    for metadata in SPLITS[name]:
        assert set(metadata) == {"tag", "include", "prompt"}
        assert metadata["tag"] in TAGS
        for index, entry in enumerate(metadata["include"]):
            placed = metadata["tag"] == "position" and index == 1
            assert {"class", "count"} <= set(entry) <= {"class", "count", "color", "position"}
            assert entry["class"] in SHAPES
            assert entry.get("color", "red") in COLOURS
            assert entry["count"] in ((2, 3, 4) if metadata["tag"] == "counting" else (1,))
            assert ("position" in entry) == placed
            if placed:
                assert entry["position"][0] in RELATIONS
                assert entry["position"][1] == 0


def test_prompts_are_short_and_phrased() -> None:
    texts = [m["prompt"] for rows in SPLITS.values() for m in rows]
    assert max(len(text.split()) for text in texts) <= 11
    assert all(text.startswith(PHRASINGS) for text in texts)


@pytest.mark.parametrize(
    ("tag", "include", "text"),
    [
        ("single_object", [{"class": "star", "count": 1}], "a photo of a star"),
        ("colors", [{"class": "star", "count": 1, "color": "red"}], "a photo of a red star"),
        ("counting", [{"class": "circle", "count": 3}], "a photo of three circles"),
        ("counting", [{"class": "circle", "count": 2, "color": "blue"}], "a photo of two blue circles"),
        ("two_object", [{"class": "circle", "count": 1}, {"class": "star", "count": 1}], "a photo of a circle and a star"),
        (
            "position",
            [
                {"class": "square", "count": 1, "color": "blue"},
                {"class": "circle", "count": 1, "color": "red", "position": ["left of", 0]},
            ],
            "a photo of a red circle left of a blue square",
        ),
    ],
)
def test_describe(tag: str, include: list[Metadata], text: str) -> None:
    assert describe({"tag": tag, "include": include}) == text
    assert describe({"tag": tag, "include": include}, "a drawing of") == text.replace("photo", "drawing")


@pytest.mark.parametrize(
    ("tag", "number"),
    # 4 shapes; 5 x 4 kinds; 3 counts x 4 shapes x (5 colours or none); C(4,2); 150 pairs of kinds of two shapes; x 4 relations
    [("single_object", 4), ("colors", 20), ("counting", 72), ("two_object", 6), ("color_attr", 150), ("position", 600)],
)
def test_contents_lists_each_content_once(tag: str, number: int) -> None:
    found = [asked_for(m) for m in contents(tag)]
    assert len(found) == len(set(found)) == number


@pytest.mark.parametrize("tag", TAGS)
def test_scene_of_satisfies_every_question(tag: str) -> None:
    rng = np.random.default_rng(0)
    for metadata in [*contents(tag), *(random_metadata(tag, rng) for _ in range(300))]:
        scene = scene_of(metadata, rng)
        assert all(q.answer(scene) for q in questions_of(metadata)), metadata
        assert len({(t.x > 16, t.y > 16) for t in scene}) == len(scene)  # one a cell
        assert is_unseen(metadata) or not {(t.color, t.shape) for t in scene} & UNSEEN


@pytest.mark.parametrize("tag", TAGS)
def test_random_metadata_has_nothing_unseen(tag: str) -> None:
    rng = np.random.default_rng(1)
    drawn = [random_metadata(tag, rng) for _ in range(300)]
    known = {asked_for(m) for m in contents(tag)}
    assert all(m["tag"] == tag and not combinations(m) & UNSEEN for m in drawn)
    assert {asked_for(m) for m in drawn} <= known


@pytest.mark.parametrize("tag", TAGS)
def test_mistaken_at_rate_zero_is_the_identity(tag: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(100):
        metadata = random_metadata(tag, rng)
        assert mistaken(metadata, 0.0, rng) == metadata


@pytest.mark.parametrize("tag", TAGS)
def test_mistaken_at_rate_one_changes_every_attribute(tag: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        metadata = random_metadata(tag, rng)
        before = json.dumps(metadata)
        wrong = mistaken(metadata, 1.0, rng)
        assert json.dumps(metadata) == before  # the original is left alone
        for right, entry in zip(metadata["include"], wrong["include"], strict=True):
            same = {key for key in right if right[key] == entry[key]}
            assert same == (set() if tag == "counting" else {"count"})


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_mistaken_never_yields_unseen_combinations(rate: float) -> None:
    rng = np.random.default_rng(4)
    for index in range(1_200):
        wrong = mistaken(random_metadata(TAGS[index % len(TAGS)], rng), rate, rng)
        assert not combinations(wrong) & UNSEEN


def test_mistaken_errs_at_its_rate() -> None:
    """Also next to unseen combinations: of a green star, a quarter of the colours and a third of the shapes lead to one."""
    rng = np.random.default_rng(6)
    star = {"tag": "colors", "include": [{"class": "star", "count": 1, "color": "green"}]}
    entries = [mistaken(star, 0.3, rng)["include"][0] for _ in range(4_000)]
    assert sum(e["class"] != "star" for e in entries) / 4_000 == pytest.approx(0.3, abs=0.03)
    assert sum(e["color"] != "green" for e in entries) / 4_000 == pytest.approx(0.3, abs=0.03)
    rng = np.random.default_rng(5)
    metadata = {"tag": "single_object", "include": [{"class": "star", "count": 1}]}
    wrong = sum(mistaken(metadata, 0.3, rng) != metadata for _ in range(2_000))
    assert wrong / 2_000 == pytest.approx(0.3, abs=0.04)  # four standard errors
