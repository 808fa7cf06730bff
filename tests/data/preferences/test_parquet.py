"""The hub's parquet files, with pictures as bytes, as structs, and in lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from arr_rpo.data import arrow
from arr_rpo.data.preferences.mmrb2 import mmrb2
from arr_rpo.data.preferences.votes import editscore_bench, genai_bench, pickapic
from arr_rpo.types import Outcome, UserError
from tests.data.preferences.files import BLUE, GREEN, READING, RED, color_of, encoded

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
IMAGE = {color: {"bytes": encoded(color), "path": None} for color in (RED, GREEN, BLUE)}


def write(path: Path, rows: list[dict[str, object]]) -> str:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)
    return str(path)


def test_pickapic_bytes_labels_and_ties(tmp_path: Path) -> None:
    row = {"caption": "c", "jpg_0": encoded(RED), "jpg_1": encoded(BLUE), "are_different": True, "best_image_uid": "u"}
    labels = [(1.0, 0.0, True), (0.0, 1.0, True), (0.5, 0.5, True), (0.0, 0.0, False), (1.0, 0.0, True)]
    rows = [
        {**row, "ranking_id": n, "label_0": zero, "label_1": one, "has_label": has} for n, (zero, one, has) in enumerate(labels)
    ]
    pairs = pickapic(path=write(tmp_path / "test-0.parquet", rows), **READING)
    assert [(p.id, p.better) for p in pairs] == [("0", Outcome.A), ("1", Outcome.B), ("2", Outcome.TIE), ("4", Outcome.A)]
    assert pairs.left_out == {"no label": 1}
    assert [color_of(image) for image in (pairs[3].a, pairs[3].b)] == [RED, BLUE]


def test_pictures_are_read_only_when_a_pair_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": "p", "left_image": IMAGE[RED], "right_image": IMAGE[BLUE], "vote_type": "leftvote"}] * 5
    read: list[tuple[str, int]] = []
    column = arrow._column
    monkeypatch.setattr(arrow, "_column", lambda path, name, group: read.append((name, group)) or column(path, name, group))
    pairs = genai_bench(path=write(tmp_path / "g.parquet", rows), task="generation", **READING)
    assert (len(pairs), read) == (5, [])
    assert color_of(pairs[4].a) == RED
    assert sorted(read) == [("left_image", 2), ("right_image", 2)]  # the third group of two rows


def test_lists_of_pictures(tmp_path: Path) -> None:
    row = {
        "pair_id": "e1",
        "prompt_text": "make it red <image_1>",
        "prompt_images": [IMAGE[GREEN]],
        "response_a_images": [IMAGE[BLUE]],
        "response_b_images": [IMAGE[RED]],
        "chosen": "b",
    }
    several = {**row, "pair_id": "e2", "response_a_images": [IMAGE[BLUE], IMAGE[RED]]}
    pairs = mmrb2(path=write(tmp_path / "edit.parquet", [row, several]), **READING)
    [pair] = pairs
    assert pair.prompt.source is not None
    assert [color_of(image) for image in (pair.prompt.source, pair.a, pair.b)] == [GREEN, BLUE, RED]
    assert pair.better is Outcome.B
    score = {
        "key": ["a", "b"],
        "instruction": "i",
        "input_image": IMAGE[GREEN],
        "output_images": [IMAGE[RED], IMAGE[BLUE]],
        "task_type": "t",
        "dimension": "overall",
    }
    [edit] = editscore_bench(path=write(tmp_path / "score.parquet", [score]), **READING)
    assert [color_of(image) for image in (edit.a, edit.b)] == [RED, BLUE]


def test_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="is no parquet file"):
        pickapic(path=str(tmp_path / "x.parquet"), **READING)


def test_pairs_of_one_edit_are_of_one_prompt(tmp_path: Path) -> None:
    """The unit of intervals: one instruction for one source, read of texts that come more than once."""
    row = {"left_output_image": IMAGE[RED], "right_output_image": IMAGE[BLUE], "vote_type": "leftvote", "source_prompt": "s"}
    row |= {"target_prompt": "t", "instruct_prompt": "more"}
    rows = [{**row, "source_image": IMAGE[color]} for color in (RED, RED, GREEN, RED)]
    pairs = genai_bench(path=write(tmp_path / "g.parquet", rows), task="edition", **READING)
    ids = [pair.prompt.id for pair in pairs]
    assert ids[0] == ids[1] == ids[3] != ids[2]
