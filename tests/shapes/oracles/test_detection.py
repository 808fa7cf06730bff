"""The drawn world, and the oracle against the truth of drawn scenes, both ways."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image

from arr_rpo.shapes.oracles.detection import detect
from arr_rpo.shapes.world.prompts import random_metadata, scene_of
from arr_rpo.shapes.world.questions import Question, questions_of
from arr_rpo.shapes.world.scene import Scene, Thing, draw, place
from arr_rpo.shapes.world.vocabulary import BACKGROUND, COLOURS, RELATIONS, SHAPES, TAGS

KINDS = ("existence", "counting", "position", "total")
DRAWINGS = 5_000
AGREEMENT = 0.995

SCENE: Scene = (
    Thing("red", "circle", 8.0, 8.0, 5.5),
    Thing("blue", "square", 24.0, 7.5, 5.5),
    Thing("yellow", "star", 8.5, 24.0, 5.5),
    Thing("purple", "triangle", 24.0, 24.5, 5.5),
)
NAMES = [("red", "circle"), ("blue", "square"), ("yellow", "star"), ("purple", "triangle")]  # in reading order


def names(image: Image.Image) -> list[tuple[str, str]]:
    return [(f.color, f.shape) for f in detect(image)]


def other(values: Any, value: Any, rng: np.random.Generator) -> Any:
    rest = [v for v in values if v != value]
    return rest[int(rng.integers(len(rest)))]


def spoilt(kind: str, rng: np.random.Generator) -> tuple[Question, Scene]:
    """A question of a prompt, and a scene of that prompt with one thing changed so that just this is not so."""
    tags = {"counting": ["counting"], "position": ["position"], "existence": [t for t in TAGS if t != "counting"]}
    while True:
        metadata = random_metadata(str(rng.choice(tags.get(kind, TAGS))), rng)
        asked = [q for q in questions_of(metadata) if q.kind == kind]
        question = asked[int(rng.integers(len(asked)))]
        include = [dict(entry) for entry in metadata["include"]]
        entry = include[int(rng.integers(len(include)))]
        if kind == "existence":
            attribute = str(rng.choice([a for a in ("class", "color") if a in entry]))
            entry[attribute] = other(SHAPES if attribute == "class" else COLOURS, entry[attribute], rng)
        elif kind == "counting":
            entry["count"] = other((1, 2, 3, 4), entry["count"], rng)
        elif kind == "position":
            include[1]["position"] = [other(RELATIONS, include[1]["position"][0], rng), 0]
        elif metadata["tag"] != "position":
            entry["count"] = other(range(1, 6 - len(include)), entry["count"], rng)
        scene = scene_of({"tag": metadata["tag"], "include": include}, rng)
        if kind == "total" and metadata["tag"] == "position":
            scene = scene[int(rng.integers(2)) :][:1]
        if not question.answer(scene):
            return question, scene


def test_oracle_says_yes_to_every_question_of_pictures_that_are_right() -> None:
    rng = np.random.default_rng(0)
    asked: Counter[str] = Counter()
    yes: Counter[str] = Counter()
    for index in range(DRAWINGS):
        metadata = random_metadata(TAGS[index % len(TAGS)], rng)
        found = detect(draw(scene_of(metadata, rng)))
        for question in questions_of(metadata):
            asked[question.kind] += 1
            yes[question.kind] += question.answer(found)
    assert set(asked) == set(KINDS)
    assert min(asked.values()) > 500
    assert {kind: yes[kind] / asked[kind] for kind in KINDS if yes[kind] / asked[kind] < AGREEMENT} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_oracle_says_no_when_one_thing_is_wrong(kind: str) -> None:
    rng = np.random.default_rng(1)
    tries = DRAWINGS // len(KINDS)
    no = 0
    for _ in range(tries):
        question, scene = spoilt(kind, rng)
        no += not question.answer(detect(draw(scene)))
    assert no / tries >= AGREEMENT


def test_oracle_finds_what_stands_where() -> None:
    found = detect(draw(SCENE))
    assert [(f.color, f.shape) for f in found] == NAMES
    for thing, f in zip(SCENE, found, strict=True):
        assert f.x == pytest.approx(thing.x, abs=0.5)
        drop = 0.25 * thing.radius if thing.shape == "triangle" else 0.0  # a triangle's centroid stands lower
        assert f.y == pytest.approx(thing.y + drop, abs=0.5)
    assert found[0].area == pytest.approx(np.pi * 5.5**2, rel=0.06)
    assert found[1].area == pytest.approx((2 * 0.88 * 5.5) ** 2, rel=0.08)


def test_oracle_finds_nothing_on_an_empty_picture() -> None:
    assert detect(draw(())) == ()
    assert detect(Image.new("RGB", (32, 32), "white")) == ()


@pytest.mark.parametrize("resample", [Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
def test_oracle_reads_larger_pictures(resample: Image.Resampling) -> None:
    found = detect(draw(SCENE).resize((96, 128), resample))
    assert [(f.color, f.shape) for f in found] == NAMES
    assert found[1].x == pytest.approx(72.0, abs=1.5)
    assert found[1].y == pytest.approx(30.0, abs=2.0)


def test_oracle_reads_rgba_and_finds_no_colour_in_greyscale() -> None:
    assert names(draw(SCENE).convert("RGBA")) == NAMES
    light = Image.new("L", (32, 32), 245)
    assert detect(light) == ()


def test_oracle_calls_an_unknown_shape_a_blob_and_skips_specks() -> None:
    pixels = np.full((32, 32, 3), BACKGROUND, dtype=np.uint8)
    pixels[4:20, 4:6] = pixels[18:20, 4:20] = COLOURS["red"]  # an L
    pixels[25:28, 25:28] = COLOURS["blue"]  # 9 pixels, fewer than MIN_AREA
    assert names(Image.fromarray(pixels)) == [("red", "blob")]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("color", COLOURS)
def test_every_kind_is_recognised(color: str, shape: str) -> None:
    assert names(draw(place([(color, shape)], [3], np.random.default_rng(2)))) == [(color, shape)]


def test_draw_paints_paper_and_ink() -> None:
    image = draw((Thing("green", "square", 8.0, 24.0, 5.0),))
    assert (image.size, image.mode) == ((32, 32), "RGB")
    assert image.getpixel((8, 24)) == COLOURS["green"]
    assert image.getpixel((24, 8)) == BACKGROUND


def test_place_puts_things_into_their_cells() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        scene = place([("red", "star")] * 4, [2, 0, 3, 1], rng)
        for thing, (x, y) in zip(scene, [(8, 24), (8, 8), (24, 24), (24, 8)], strict=True):
            assert abs(thing.x - x) <= 1.0
            assert abs(thing.y - y) <= 1.0
            assert 5.0 <= thing.radius <= 6.25
