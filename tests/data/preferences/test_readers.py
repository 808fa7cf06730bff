"""Each published format, and each of its traps, on files of our own with the same keys."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr_rpo.data.images import ImageError
from arr_rpo.data.preferences.from_files import rank_pairs
from arr_rpo.data.preferences.hpd import editreward_validation, hpdv2, hpdv3
from arr_rpo.data.preferences.mmrb2 import mmrb2
from arr_rpo.data.preferences.own import jsonl
from arr_rpo.data.preferences.rankings import arr, imagereward
from arr_rpo.data.preferences.votes import editreward_bench, editscore_bench, genai_bench, pickapic
from arr_rpo.types import Outcome, UserError
from tests.data.preferences.files import BLUE, GREEN, READING, RED, color_of, encoded, hpdv3_rows, red_is_better, save, write

A, B, TIE = Outcome.A, Outcome.B, Outcome.TIE


def test_hpdv3_first_is_preferred_and_the_coin_moves_the_label_with_the_images(folder: Path) -> None:
    path = write(folder / "train.json", hpdv3_rows(64))
    pairs = hpdv3(path=path, min_confidence=None, **READING)
    assert [p.better for p in pairs] == [A] * 64
    assert pairs.ids[0] == "train/1"
    swapped = hpdv3(path=path, min_confidence=None, **{**READING, "swap_seed": 0})
    assert all(red_is_better(p) for p in swapped)
    assert 16 <= sum(p.better is A for p in swapped) <= 48  # a fair coin: 4 standard deviations
    again = hpdv3(path=path, min_confidence=None, **{**READING, "swap_seed": 0})
    assert [p.better for p in swapped] == [p.better for p in again]
    other = hpdv3(path=path, min_confidence=None, **{**READING, "swap_seed": 1})
    assert [p.better for p in swapped] != [p.better for p in other]


def test_pairs_of_one_text_are_one_prompt_and_of_another_source_another(folder: Path) -> None:
    """As they share images, intervals draw them together (`unit: prompt`)."""
    rows = [{**row, "prompt": text} for row, text in zip(hpdv3_rows(3), ("a", "b", "a"), strict=True)]
    pairs = hpdv3(path=write(folder / "train.json", rows), min_confidence=None, **READING)
    ids = [pair.prompt.id for pair in pairs]
    assert ids[0] == ids[2] != ids[1]
    assert len({pair.id for pair in pairs}) == 3
    edits = [
        {**row, "prompt": "x", "path_src": source}
        for row, source in zip(rows, ("images/red.png", "images/blue.png", "images/red.png"), strict=True)
    ]
    ids = [pair.prompt.id for pair in editreward_validation(path=write(folder / "edits.json", edits), **READING)]
    assert ids[0] == ids[2] != ids[1]


def test_hpdv3_null_confidence_is_kept_and_low_confidence_counted(folder: Path) -> None:
    rows = hpdv3_rows(4)
    rows[0]["confidence"] = 0.4
    del rows[2]["confidence"]  # as in the test split
    pairs = hpdv3(path=write(folder / "train.json", rows), min_confidence=0.5, **READING)
    assert [p.prompt.text for p in pairs] == ["prompt 1", "prompt 2", "prompt 3"]
    assert pairs.left_out == {"confidence below 0.5": 1}


def test_hpdv2_keys_differ_by_split(folder: Path) -> None:
    images = ["images/red.png", "images/green.png", "images/blue.png"]
    train = [{"prompt": "p", "file_path": images[:2], "human_preference": [0, 1]}]
    assert [p.better for p in hpdv2(path=write(folder / "train.json", train), **READING)] == [B]
    test = [{"prompt": "p", "image_path": images, "rank": [3, 1, 1], "raw_annotations": []}]
    pairs = hpdv2(path=write(folder / "test.json", test), **READING)
    assert [(color_of(p.a), color_of(p.b), p.better) for p in pairs] == [
        (RED, GREEN, B),  # lower is better
        (RED, BLUE, B),
        (GREEN, BLUE, TIE),
    ]


def test_imagereward_rankings_become_pairs_of_one_prompt(folder: Path) -> None:
    rows = [
        {"id": "7-1", "prompt": "p", "generations": [f"images/{c}.png" for c in ("red", "green", "blue")], "ranking": [2, 1, 2]}
    ]
    path = write(folder / "test.json", rows)
    pairs = imagereward(path=path, **READING)
    assert list(pairs.ids) == ["7-1/0-1", "7-1/0-2", "7-1/1-2"]
    assert [p.better for p in pairs] == [B, TIE, A]
    assert pairs[0].prompt is pairs[1].prompt
    assert pairs[0].a is pairs[1].a  # opened once
    untied = imagereward(path=path, **{**READING, "ties": "drop"})
    assert (len(untied), dict(untied.left_out)) == (2, {"tie": 1})


@given(st.lists(st.integers(1, 5), min_size=2, max_size=9))
def test_every_pair_of_a_ranking_once_and_the_lower_rank_wins(ranks: list[int]) -> None:
    pairs = rank_pairs(ranks)
    assert len(pairs) == len(ranks) * (len(ranks) - 1) // 2 == len({(i, j) for i, j, _ in pairs})
    for i, j, label in pairs:
        assert label is (A if ranks[i] < ranks[j] else B if ranks[j] < ranks[i] else TIE)


def test_mmrb2_local_file(folder: Path) -> None:
    def response(*images: str, text: str = "here") -> dict[str, Any]:
        return {"model_name": "m", "response_content": [["text", text], *(["image", i] for i in images)]}

    red, blue, green = (f"images/{c}.png" for c in ("red", "blue", "green"))
    plain = {"prompt_content": [["text", "t"]], "response_a": response(red), "response_b": response(blue), "chosen": "A"}
    rows = [
        {
            "id": "edit_1",
            "prompt_content": [["text", "make it red"], ["image", green], ["text", "please"]],
            "prompt_source": "emu",
            "response_a": response(red),
            "response_b": response(blue),
            "chosen": "B",
            "human_annotations": [1, 2, 2],
        },
        {**plain, "id": "two_sources", "prompt_content": [["text", "t"], ["image", red], ["image", blue]]},
        {**plain, "id": "text_only", "response_a": response()},
        {**plain, "id": "open", "chosen": None},
    ]
    pairs = mmrb2(path=write(folder / "edit.json", {"pairs": rows}), **READING)
    [pair] = pairs
    assert (pair.id, pair.prompt.text, pair.better, pair.subset) == ("edit_1", "make it red please", B, "emu")
    assert pair.prompt.source is not None
    assert color_of(pair.prompt.source) == GREEN
    assert pairs.left_out == {"several source images": 1, "a response without an image, or with several": 1, "no label": 1}
    with pytest.raises(UserError, match="file's order"):
        mmrb2(path=str(folder / "edit.json"), **{**READING, "swap_seed": 0})


def test_mmrb2_hub_rows(folder: Path) -> None:
    row = {
        "pair_id": "e1",
        "prompt_text": "<image_1> make it red",
        "prompt_images": ["images/green.png"],
        "response_a_text": "",
        "response_a_images": ["images/red.png"],
        "response_b_images": ["images/blue.png"],
        "chosen": "a",
    }
    [pair] = mmrb2(path=write(folder / "edit.json", [row]), **READING)
    assert (pair.prompt.text, pair.better, color_of(pair.a)) == ("make it red", A, RED)


def test_genai_bench_votes(folder: Path) -> None:
    images = {"left_image": "images/red.png", "right_image": "images/blue.png"}
    votes = ["leftvote", "rightvote", "tievote", "bothbad_vote"]
    rows = [{"prompt": "p", **images, "vote_type": vote} for vote in votes]
    pairs = genai_bench(path=write(folder / "g.json", rows), task="generation", **READING)
    assert [p.better for p in pairs] == [A, B, TIE, TIE]
    edits = [
        {
            "instruct_prompt": "make it red",
            "source_image": "images/green.png",
            "left_output_image": "images/red.png",
            "right_output_image": "images/blue.png",
            "vote_type": "rightvote",
        }
    ]
    [edit] = genai_bench(path=write(folder / "e.json", edits), task="edition", **READING)
    assert edit.prompt.source is not None
    assert (color_of(edit.prompt.source), color_of(edit.b), edit.better) == (GREEN, BLUE, B)
    rows[0]["vote_type"] = "leftish"
    with pytest.raises(UserError, match=r"row 1: vote_type is 'leftish'"):
        genai_bench(path=write(folder / "g.json", rows), task="generation", **READING)
    with pytest.raises(UserError, match="no key 'instruct_prompt'"):
        genai_bench(path=str(folder / "g.json"), task="edition", **READING)


def test_editreward_bench_takes_its_pairs_only(folder: Path) -> None:
    images = {f"candidate_{i}": f"images/{c}.png" for i, c in ((1, "red"), (2, "blue"))}
    common = {"instruction": "i", "source_image": "images/green.png", **images, "score_1": 1, "score_2": 9}
    rows = [{"id": str(n), **common, "ranking": r, "dataset": d} for n, (r, d) in enumerate(
        [("A>B", "2pair"), ("B>A", "2pair"), ("A=B", "2pair"), ("A>B", "3pair")]
    )]  # fmt: skip
    pairs = editreward_bench(path=write(folder / "bench.json", rows), dataset="2pair", **READING)
    assert [p.better for p in pairs] == [A, B, TIE]  # the scores say otherwise and are not read
    assert pairs.left_out == {"not of 2pair": 1}


def test_editreward_validation_goes_by_path_order(folder: Path) -> None:
    row = {
        "prompt": "i",
        "choice_dist": None,
        "confidence": None,
        "path_src": "images/green.png",
        "path1": "images/red.png",
        "path2": "images/blue.png",
        "model1_dim1_score": 4,
        "model2_dim1_score": 2,
        "model1_overall_score": 0.1,  # contradicts the order
        "model2_overall_score": 0.9,
    }
    pairs = editreward_validation(path=write(folder / "v.json", [row, {**row, "tie_case": True}]), **READING)
    assert [p.better for p in pairs] == [A, TIE]
    assert red_is_better(pairs[0])


def test_editscore_bench_first_output_is_preferred(folder: Path) -> None:
    row = {
        "key": ["k1", "k2"],
        "instruction": "i",
        "input_image": "images/green.png",
        "output_images": ["images/red.png", "images/blue.png"],
        "task_type": "color_alter",
    }
    rows = [{**row, "dimension": d} for d in ("consistency", "overall")]
    pairs = editscore_bench(path=write(folder / "e.json", rows), **READING)
    assert list(pairs.ids) == ["k1/k2/consistency", "k1/k2/overall"]
    assert [(p.better, p.subset) for p in pairs] == [(A, "color_alter/consistency"), (A, "color_alter/overall")]
    assert all(red_is_better(p) for p in pairs)


def test_arr_label_rank_lower_is_better(folder: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(encoded(RED)).decode()
    t2i = [{"query": "q", "response": ["images/blue.png", url], "label_rank": [2, 1]}, {"query": "q", "response": ["x", "y"]}]
    pairs = arr(path=write(folder / "t2i.json", t2i), **READING)
    assert [p.better for p in pairs] == [B]
    assert red_is_better(pairs[0])
    assert pairs.left_out == {"no label": 1}
    edit = [{"query": "q", "source_image": "images/green.png", "edited_images": ["images/red.png", "https://x/y.png"],
             "label_rank": [1, 2]}]  # fmt: skip
    edits = arr(path=write(folder / "edit.json", edit), **READING)
    with pytest.raises(ImageError, match=r"edit.json, row 1: the image is at https://x/y.png"):
        edits[0]


def test_our_own_format(folder: Path) -> None:
    rows = [
        {"prompt": "p", "a": "images/red.png", "b": "images/blue.png", "better": "A", "subset": "s", "metadata": {"tag": "t"}},
        {
            "id": "mine",
            "prompt": "q",
            "a": "images/red.png",
            "b": "images/blue.png",
            "better": "tie",
            "source": "images/green.png",
        },
    ]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    first, second = jsonl(path=str(path), **READING)
    assert (first.id, first.subset, first.prompt.metadata, first.better) == ("pairs/1", "s", {"tag": "t"}, A)
    assert (second.id, second.better) == ("mine", TIE)
    assert second.prompt.source is not None
    for change, message in (({"bettr": "A"}, "unknown key 'bettr'"), ({"better": "a"}, "better is 'a'")):
        path.write_text(json.dumps({**rows[0], **change}) + "\n", encoding="utf-8")
        with pytest.raises(UserError, match=f"pairs.jsonl, line 1: {message}"):
            jsonl(path=str(path), **READING)


@pytest.mark.parametrize(
    ("reader", "row", "more"),
    [
        (hpdv3, {"prompt": "p", "path1": "a", "path2": "b", "confidence": "high"}, {"min_confidence": 0.5}),
        (hpdv2, {"prompt": "p", "file_path": ["a", "b"], "human_preference": ["x", None]}, {}),
        (imagereward, {"id": "1", "prompt": "p", "generations": ["a", "b"], "ranking": [1, {}]}, {}),
        (pickapic, {"caption": "c", "jpg_0": "a", "jpg_1": "b", "label_0": None, "label_1": 1, "has_label": True}, {}),
        (genai_bench, {"prompt": "c", "left_image": "a", "right_image": "b", "vote_type": []}, {"task": "generation"}),
        (mmrb2, {"id": "1", "prompt_content": [], "response_a": None, "response_b": {}, "chosen": "A"}, {}),
    ],
)
def test_rows_of_other_types_are_named(folder: Path, reader: Any, row: dict[str, Any], more: dict[str, Any]) -> None:
    (folder / "p.json").write_text(json.dumps([row]), encoding="utf-8")
    with pytest.raises(UserError, match=r"p\.json, row 1 is no row of this format \(\w+: .*Is this the right file"):
        reader(path=str(folder / "p.json"), **more, **READING)


def test_subsets_of_any_type_are_names(folder: Path) -> None:
    """All pairs were judged, and then their subsets could not be sorted."""
    row = {"prompt": "p", "a": save(folder / "a.png", RED), "b": save(folder / "b.png", BLUE), "better": "A"}
    path = folder / "pairs.jsonl"
    given = [1, "1", None, 2.5, "x", True]
    path.write_text("".join(json.dumps({**row, "subset": subset}) + "\n" for subset in given), encoding="utf-8")
    assert sorted({pair.subset for pair in jsonl(path=str(path), **READING)}) == ["", "1", "2.5", "True", "x"]
    for more in ({"subset": ["x"]}, {"subset": {"a": 1}}, {"metadata": "x"}, {"metadata": []}):
        path.write_text(json.dumps({**row, **more}) + "\n", encoding="utf-8")
        with pytest.raises(UserError, match="line 1: a subset is a name and metadata are an object"):
            jsonl(path=str(path), **READING)
