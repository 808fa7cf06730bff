"""The oracle of edits: both ways on a thousand drawings of each kind, on reconstructions, and on policies that cheat."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageDraw

import arr_rpo.shapes
from arr_rpo.data.prompts import read_prompts
from arr_rpo.measure.base import Taken
from arr_rpo.shapes.oracles.detection import detect
from arr_rpo.shapes.oracles.edit_oracle import judge_edit, judge_prompt
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.oracles.measure import ShapesOracle
from arr_rpo.shapes.world.edits import KINDS, Edit, edit_of, from_metadata, others, random_edit, target
from arr_rpo.shapes.world.questions import cell_of
from arr_rpo.shapes.world.scene import Scene, Thing, draw, place
from arr_rpo.shapes.world.vocabulary import COLOURS, SEEN, SHAPES
from arr_rpo.types import Outcome, Prompt

POLICY = Path(arr_rpo.shapes.__file__).parent / "weights" / "policy"
DRAWINGS = 1_000
AGREEMENT = 0.995
HELDOUT = read_prompts("shapes/edit_heldout")[:]
CIRCLE, SQUARE = Thing("red", "circle", 8.0, 8.0, 5.5), Thing("green", "square", 24.0, 24.0, 5.5)
SOURCE: Scene = (CIRCLE, SQUARE)
RECOLOUR = Edit("recolour", "red", "circle", 0, "blue", "circle", 0)
BLUE = Thing("blue", "circle", 8.0, 8.0, 5.5)
MOVE, MOVED = Edit("move", "red", "circle", 0, "red", "circle", 2), Thing("red", "circle", 8.0, 24.0, 5.5)


def changed(thing: Thing, free: list[int], rng: np.random.Generator) -> Thing:
    """In another colour, another shape or another cell."""
    how = int(rng.integers(3 if free else 2))
    if how == 0:
        return dataclasses.replace(thing, color=str(rng.choice([c for c in COLOURS if c != thing.color])))
    if how == 1:
        return dataclasses.replace(thing, shape=str(rng.choice([s for s in SHAPES if s != thing.shape])))
    return place([(thing.color, thing.shape)], [int(rng.choice(free))], rng)[0]


def misdone(source: Scene, right: Scene, edit: Edit, rng: np.random.Generator) -> Scene:
    """All else stays, and the edit is another one or none."""
    if edit.kind == "remove":
        return source
    made = next(t for t in right if t not in source)
    rest = tuple(t for t in right if t != made)
    free = [cell for cell in range(4) if cell not in {*map(cell_of, rest), edit.to_cell}]
    return (*rest, changed(made, free, rng))


def meddled(source: Scene, right: Scene, edit: Edit, rng: np.random.Generator) -> Scene:
    """The edit is made, and one other thing is changed, moved by three pixels or lost, or one is new."""
    stay = [t for t in right if t in source]
    free = [cell for cell in range(4) if cell not in {*map(cell_of, right), edit.cell, edit.to_cell}]
    if not stay or (free and rng.random() < 0.25):
        return (*right, *place([SEEN[int(rng.integers(len(SEEN)))]], [int(rng.choice(free))], rng))
    other = stay[int(rng.integers(len(stay)))]
    rest = tuple(t for t in right if t != other)
    how = rng.random()
    if how < 0.25:
        return rest
    if how < 0.5:
        inwards = 3.0 if other.x % 16 < 8 else -3.0
        return (*rest, dataclasses.replace(other, x=other.x + inwards))
    return (*rest, changed(other, free, rng))


@pytest.mark.parametrize("kind", KINDS)
def test_exact_both_ways(kind: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    right, unmade, spoilt = [], [], []
    for index in range(DRAWINGS):
        source, edit = edit_of(kind, SEEN, rng)
        scene, before = target(source, edit, rng), draw(source)
        right.append(judge_edit(before, draw(scene), source, edit))
        if index % 2:
            unmade.append(judge_edit(before, draw(misdone(source, scene, edit, rng)), source, edit))
        else:
            spoilt.append(judge_edit(before, draw(meddled(source, scene, edit, rng)), source, edit))
    assert sum(r.strict for r in right) / DRAWINGS >= AGREEMENT
    assert sum(not r.instruction for r in unmade) / len(unmade) >= AGREEMENT
    assert sum(r.instruction and not r.preservation for r in spoilt) / len(spoilt) >= AGREEMENT


def test_an_unchanged_source_is_preserved_and_not_edited() -> None:
    result = judge_edit(draw(SOURCE), draw(SOURCE), SOURCE, RECOLOUR)
    assert (result.instruction, result.preservation, result.strict, result.paper_change) == (False, True, False, 0.0)


@pytest.mark.parametrize(
    ("edit", "scene", "false"),
    [
        (RECOLOUR, (BLUE, SQUARE), set()),
        (RECOLOUR, (BLUE,), {"objects"}),
        (RECOLOUR, (BLUE, dataclasses.replace(SQUARE, color="blue")), {"objects"}),
        (RECOLOUR, (BLUE, dataclasses.replace(SQUARE, shape="star")), {"objects"}),
        (RECOLOUR, (BLUE, dataclasses.replace(SQUARE, x=27.0)), {"objects", "background"}),
        (RECOLOUR, (BLUE, dataclasses.replace(SQUARE, x=8.0)), {"objects", "extras", "background"}),
        (RECOLOUR, (BLUE, dataclasses.replace(SQUARE, radius=4.0)), {"objects"}),
        (RECOLOUR, (BLUE, SQUARE, Thing("red", "star", 24.0, 8.0, 5.5)), {"extras", "background"}),
        (RECOLOUR, (SQUARE,), {"instruction"}),
        (MOVE, (MOVED, SQUARE), set()),
        (MOVE, (MOVED, CIRCLE, SQUARE), {"instruction"}),  # copied
        (MOVE, (CIRCLE, SQUARE), {"instruction"}),
    ],
)
def test_each_fault_is_one_of_its_kind(edit: Edit, scene: Scene, false: set[str]) -> None:
    result = judge_edit(draw(SOURCE), draw(scene), SOURCE, edit)
    names = ("instruction", "objects", "extras", "background")
    assert {name for name in names if not getattr(result, name)} == false
    assert result.strict == (not false)


@pytest.mark.parametrize(("levels", "kept"), [(5, True), (7, False), (-7, False)])
def test_the_paper_may_change_by_six_levels(levels: int, kept: bool) -> None:
    tinted = np.asarray(draw((BLUE, SQUARE)), dtype=int) - levels
    result = judge_edit(draw(SOURCE), Image.fromarray(tinted.clip(0, 255).astype(np.uint8)), SOURCE, RECOLOUR)
    assert (result.background, result.preservation, result.strict) == (kept, kept, kept)
    assert result.paper_change == pytest.approx(abs(levels))


def test_a_smudge_in_one_cell_is_seen() -> None:
    """48 of a cell's 256 pixels, 60 levels darker: in one channel of three 3.75 on average, in all 11.25, and of the whole
    picture's paper about a third of that."""
    for levels, change, kept in (((185, 245, 245), 3.75, True), ((185, 185, 185), 11.25, False)):
        picture = draw((BLUE, SQUARE))
        ImageDraw.Draw(picture).rectangle((20, 4, 27, 9), fill=levels)
        result = judge_edit(draw(SOURCE), picture, SOURCE, RECOLOUR)
        assert (result.background, result.paper_change) == (kept, pytest.approx(change))


def test_a_ghost_of_what_was_removed_is_no_removal() -> None:
    remove = Edit("remove", "red", "circle", 0, "", "", 0)
    clean, old = np.asarray(draw((SQUARE,)), dtype=float), np.asarray(draw(SOURCE), dtype=float)
    for share, made in ((0.0, True), (0.3, False)):
        ghost = Image.fromarray((clean + share * (old - clean)).astype(np.uint8))
        assert len(detect(ghost)) == 1  # too pale to be an object
        assert judge_edit(draw(SOURCE), ghost, SOURCE, remove).instruction is made


def test_another_shade_of_another_object_is_seen() -> None:
    shaded = np.asarray(draw((BLUE, SQUARE))).copy()
    shaded[16:, 16:] = (shaded[16:, 16:] * 0.7).astype(np.uint8)
    paper = np.asarray(draw((BLUE, SQUARE)))
    shaded = np.where(paper == 245, paper, shaded)
    result = judge_edit(draw(SOURCE), Image.fromarray(shaded), SOURCE, RECOLOUR)
    assert (result.objects, result.background) == (False, True)


def test_reconstructions_of_true_targets_pass() -> None:
    """What the embedded policy's VAE makes of 300 true edits: the tolerances are not too tight for it."""
    vae = AutoencoderKL.from_pretrained(POLICY, subfolder="vae", local_files_only=True).eval()
    rng = np.random.default_rng(11)
    cases = [(source, edit, target(source, edit, rng)) for source, edit in (random_edit(rng) for _ in range(300))]
    pixels = torch.from_numpy(np.stack([np.asarray(draw(scene)) for _, _, scene in cases])).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
    bytes_ = ((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    strict = [
        judge_edit(draw(source), Image.fromarray(picture), source, edit).strict
        for (source, edit, _), picture in zip(cases, bytes_, strict=True)
    ]
    assert sum(strict) / len(strict) >= 0.99


def test_larger_pictures_are_scaled() -> None:
    large = draw((BLUE, SQUARE)).resize((128, 128), Image.Resampling.NEAREST)
    assert judge_edit(draw(SOURCE), large, SOURCE, RECOLOUR).strict


# -- policies that cheat ---------------------------------------------------------------------------------------------------


def ignoring(prompt: Prompt, rng: np.random.Generator) -> Image.Image:
    """Draws what the instruction names, where it says so or anywhere, and never looks at the source."""
    _, edit = from_metadata(prompt.metadata)
    if edit.kind == "remove":
        return draw(())
    cell = edit.to_cell if edit.kind in ("add", "move") else int(rng.integers(4))
    return draw(place([(edit.to_color, edit.to_shape)], [cell], rng))


def right(prompt: Prompt, rng: np.random.Generator) -> Image.Image:
    return draw(target(*from_metadata(prompt.metadata), rng))


def taken(images: list[Image.Image]) -> Taken:
    values = ShapesOracle().values(HELDOUT, images, None)
    ids = [p.id for p in HELDOUT]
    return Taken(dict(zip(ids, values, strict=True)), {p.id: p.metadata["tag"] for p in HELDOUT})


def test_strict_accuracy_of_policies_that_cheat() -> None:
    """Without the source, only a lone thing's edit can come out right: a move, or one in four of what keeps its place."""
    rng = np.random.default_rng(0)
    unchanged = taken([p.source for p in HELDOUT])  # type: ignore[misc]
    assert (unchanged.mean, unchanged.figures) == (0.0, {"criteria": 0.5, "instruction": 0.0, "preservation": 1.0})
    ignorant = taken([ignoring(p, rng) for p in HELDOUT])
    assert ignorant.mean is not None and ignorant.mean < 0.1
    assert ignorant.figures["instruction"] > 0.4  # so the strict measure is what tells
    alone = [not others(edit, source) for source, edit in (from_metadata(p.metadata) for p in HELDOUT)]
    strict = [judge_prompt(p, ignoring(p, rng)).strict for p in HELDOUT]
    assert not any(s and not lone for s, lone in zip(strict, alone, strict=True))
    best = taken([right(p, rng) for p in HELDOUT])
    assert best.mean is not None and best.mean >= AGREEMENT
    assert set(best.by_tag) == set(KINDS)


@pytest.mark.parametrize("policy", ["unchanged", "ignoring"])
def test_a_rubric_by_the_oracle_does_not_pay_cheats(policy: str) -> None:
    rng = np.random.default_rng(1)
    cheats: list[Any] = [p.source if policy == "unchanged" else ignoring(p, rng) for p in HELDOUT]
    verdicts = OracleJudge().compare(
        HELDOUT, [(cheat, right(p, rng)) for p, cheat in zip(HELDOUT, cheats, strict=True)], [None] * 500
    )
    lost = sum(v.outcome is Outcome.B for v in verdicts)
    assert not any(v.outcome is Outcome.A for v in verdicts)
    assert lost == 500 if policy == "unchanged" else lost > 450
