"""What all readers do alike: with files that are missing or broken, with options, with pairs that a writer asks for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from arr_rpo.data.images import ImageError
from arr_rpo.data.preferences.from_files import ReadPairs
from arr_rpo.data.preferences.hpd import hpdv3
from arr_rpo.data.preferences.rankings import imagereward
from arr_rpo.data.preferences.votes import pickapic
from arr_rpo.types import Outcome, Prompt, UserError
from tests.data.preferences.files import BLUE, GREEN, READING, RED, color_of, hpdv3_rows, red_is_better, save, write


def test_missing_images_are_an_error_or_are_skipped_and_counted(folder: Path) -> None:
    rows = hpdv3_rows(3)
    rows[1]["path2"] = "images/gone.png"
    path = write(folder / "train.json", rows)
    strict = hpdv3(path=path, min_confidence=None, **READING)
    assert strict[0].better is Outcome.A  # lazily: nothing is wrong with the first
    with pytest.raises(ImageError, match=r"train.json, row 2: no image .*gone.png"):
        list(strict)
    lenient = hpdv3(path=path, min_confidence=None, **{**READING, "on_missing": "skip"})
    assert len(lenient) == 3
    assert [p.prompt.text for p in lenient] == ["prompt 0", "prompt 2"]
    assert len(lenient.skipped) == 1


def test_image_root(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("labels") / "train.json", hpdv3_rows(1))
    [pair] = hpdv3(path=path, min_confidence=None, **{**READING, "image_root": str(folder)})
    assert red_is_better(pair)


def test_repeated_ids_are_told_apart(folder: Path) -> None:
    row = {"pair_id": 1, "caption": "c", "jpg_0": "images/red.png", "jpg_1": "images/blue.png", "has_label": True}
    rows = [{**row, "ranking_id": 5, "label_0": 1.0, "label_1": 0.0}] * 2
    assert list(pickapic(path=write(folder / "p.json", rows), **READING).ids) == ["5", "5#2"]


def test_pairs_of_one_prompt_for_a_writer(folder: Path) -> None:
    images = [f"images/{c}.png" for c in ("red", "green", "blue")]
    rows = [
        {"id": "1", "prompt": "p", "generations": images, "ranking": [1, 2, 2]},
        {"id": "2", "prompt": "q", "generations": images[:2], "ranking": [1, 2]},
    ]
    pairs: ReadPairs = imagereward(path=write(folder / "test.json", rows), **READING)
    found = pairs.for_prompt(Prompt("any", "p"), 5, seed=0)
    assert {p.id for p in found} == {"1/0-1", "1/0-2"}  # two of three: the third is a tie
    assert [p.id for p in pairs.for_prompt(Prompt("any", "p"), 1, seed=0)] == [found[0].id]
    assert pairs.for_prompt(Prompt("any", "r"), 5, seed=0) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "the files are empty"),
        ("[1]", "not an object"),
        ('{"x": 1}', "expected a list of rows"),
        ('[{"prompt": "", "path1": "a", "path2": "b"}]', "'prompt' should be a text"),
        ('[{"prompt": "p", "path1": "a"}]', "no key 'path2'; there are prompt, path1"),
    ],
)
def test_malformed_files(folder: Path, content: str, message: str) -> None:
    (folder / "train.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        hpdv3(path=str(folder / "train.json"), min_confidence=None, **READING)


def test_no_file_and_unknown_options(folder: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        hpdv3(path=str(folder / "gone*.json"), min_confidence=None, **READING)
    path = write(folder / "train.json", hpdv3_rows(1))
    with pytest.raises(UserError, match=r"preferences.ties=maybe: choose keep or drop"):
        hpdv3(path=path, min_confidence=None, **{**READING, "ties": "maybe"})


def test_parquet_without_its_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "test.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"test.parquet: parquet files need pyarrow: pip install"):
        pickapic(path=str(folder), **READING)


def test_several_files_by_a_pattern(folder: Path) -> None:
    for part in ("a", "b"):
        write(folder / f"part-{part}.json", hpdv3_rows(2))
    pairs = hpdv3(path=str(folder / "part-*.json"), min_confidence=None, **READING)
    assert list(pairs.ids) == ["part-a/1", "part-a/2", "part-b/1", "part-b/2"]


def test_a_folder_of_several_splits_is_refused(folder: Path) -> None:
    """Labels that are trained on are no test."""
    for name in ("all", "test", "train"):
        write(folder / f"{name}.json", hpdv3_rows(1))
    with pytest.raises(UserError, match=r"holds several splits \(all\.json, test\.json, train\.json\)"):
        hpdv3(path=str(folder), min_confidence=None, **READING)
    assert len(hpdv3(path=f"{folder}/*.json", min_confidence=None, **READING)) == 3  # as it is asked for
    parts = folder / "parts"
    parts.mkdir()
    for number in range(2):
        write(parts / f"train-0000{number}-of-00002.json", [{**hpdv3_rows(1)[0], "path1": "../images/red.png"}])
    assert len(hpdv3(path=str(parts), min_confidence=None, **{**READING, "image_root": str(parts)})) == 2


def test_pictures_lie_beside_the_file_that_names_them(tmp_path: Path) -> None:
    """Of a pattern over several folders, whose pictures may have one name."""
    for name, color in (("a", RED), ("b", BLUE)):
        save(tmp_path / name / "0.png", color)
        save(tmp_path / name / "1.png", GREEN)
        row = {"prompt": "p", "path1": "0.png", "path2": "1.png"}
        write(tmp_path / name / "pairs.json", [row])
    pairs = hpdv3(path=f"{tmp_path}/*/pairs.json", min_confidence=None, **READING)
    assert [color_of(pair.a) for pair in pairs] == [RED, BLUE]
    found = pairs.for_prompt(Prompt("any", "p"), 5, seed=0)
    assert sorted(color_of(pair.a) for pair in found) == sorted([RED, BLUE])
