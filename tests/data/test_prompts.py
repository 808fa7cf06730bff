"""Prompt files: pictures to make and pictures to edit, in the formats that others publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from arr_rpo.data.datamodule import PromptDataModule, Updates
from arr_rpo.data.prompts import PromptRow, Prompts, read_prompts
from arr_rpo.shapes.oracles.measure import ShapesOracle
from arr_rpo.shapes.world.edits import Edit, data_url, from_metadata, to_metadata
from arr_rpo.shapes.world.scene import Thing, draw
from arr_rpo.types import Prompt, UserError

RED, BLUE, HALF = (255, 0, 0), (0, 0, 255), (255, 0, 0, 0)


def written(folder: Path, *rows: Any, name: str = "prompts.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (5, 3), RED).save(tmp_path / "red.png")
    Image.new("RGBA", (3, 4), HALF).save(tmp_path / "images" / "clear.png")
    Image.new("RGB", (4, 4), BLUE).save(tmp_path / "images" / "blue.png")
    return tmp_path


def test_text_and_geneval(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a cat\n\n  a dog \n", encoding="utf-8")
    assert [(p.id, p.text, p.source) for p in read_prompts(path)] == [("a/1", "a cat", None), ("a/3", "a dog", None)]
    include = [{"class": "star", "count": 1}]
    (prompt,) = read_prompts(written(tmp_path, {"tag": "single_object", "prompt": "a star", "include": include}))
    assert (prompt.id, prompt.text, prompt.source) == ("prompts/1", "a star", None)
    assert prompt.metadata == {"tag": "single_object", "include": include}


@pytest.mark.parametrize(
    "row",
    [
        {"source_image": "red.png", "instruction": "more"},  # ARR
        {"prompt": "more", "image": "red.png"},  # Edit-R1
        {"prompt": "more", "images": ["red.png"]},  # Flow-Factory
        {"source": "red.png", "prompt": "more"},
    ],
)
def test_an_edit_of_a_picture(folder: Path, row: dict[str, Any]) -> None:
    (prompt,) = read_prompts(written(folder, {**row, "requirement": "r"}))
    assert (prompt.text, dict(prompt.metadata), prompt.references) == ("more", {"requirement": "r"}, ())
    assert prompt.source is not None
    assert (prompt.source.size, prompt.source.getpixel((0, 0))) == ((5, 3), RED)


def test_several_pictures_and_the_folder_images(folder: Path) -> None:
    (prompt,) = read_prompts(written(folder, {"prompt": "join", "images": ["clear.png", "red.png", "blue.png"]}))
    assert prompt.source is not None
    assert (prompt.source.mode, prompt.source.getpixel((0, 0))) == ("RGB", (255, 255, 255))  # on white
    assert [picture.getpixel((0, 0)) for picture in prompt.references] == [RED, BLUE]


def test_json_files(folder: Path) -> None:
    step1x, listed = folder / "prompt_en.json", folder / "share.json"
    step1x.write_text('{"red.png": "make it blue", "blue.png": "make it red"}', encoding="utf-8")
    assert [(p.id, p.text, p.source.size) for p in read_prompts(step1x) if p.source] == [
        ("prompt_en/1", "make it blue", (5, 3)),
        ("prompt_en/2", "make it red", (4, 4)),
    ]
    rows = [{"input_prompt": "a cat", "output_image": "x.png"}, {"input_prompt": "more", "input_image": ["red.png"]}]
    listed.write_text(json.dumps(rows), encoding="utf-8")
    plain, edit = read_prompts(listed)
    assert (plain.source, plain.metadata) == (None, {"output_image": "x.png"})
    assert edit.source is not None


def test_an_edit_of_the_shapes_has_its_source_beside_what_is_in_it(tmp_path: Path) -> None:
    source = (Thing("red", "circle", 8.0, 8.0, 5.5),)
    metadata = to_metadata(source, Edit("remove", "red", "circle", 0, "", "", 0))
    prompts = read_prompts(written(tmp_path, {**metadata, "prompt": "remove the red circle", "source": data_url(draw(source))}))
    assert prompts[0].metadata == metadata
    assert prompts[0].source is not None
    assert prompts[0].source.tobytes() == draw(source).tobytes()


@pytest.mark.parametrize(("name", "count"), [("train", 960), ("heldout", 500), ("unseen", 150)])
def test_embedded_splits_of_edits(name: str, count: int) -> None:
    prompts = read_prompts(f"shapes/edit_{name}")
    assert len(prompts) == count
    prompt = prompts[7]
    assert prompt.source is not None
    assert prompt.source.tobytes() == draw(from_metadata(prompt.metadata)[0]).tobytes()
    assert prompt.id == f"edit_{name}/8"


def test_pictures_are_opened_when_they_are_asked_for(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    prompts = read_prompts(written(folder, *({"prompt": p, "image": f"{p}.png"} for p in ("broken", "red"))))
    assert len(prompts) == 2
    assert [p.text for p in prompts[1:]] == ["red"]
    with pytest.raises(UserError, match=r"broken\.png cannot be read"):
        prompts[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: expected JSON"),
        ("[]", r"line 2: not an object with keys"),
        ('{"tag": "x"}', r"line 2: no prompt\. There are the columns 'tag'; say which one .*data\.columns={prompt: NAME}"),
        ('{"prompt": " "}', "line 2: 'prompt' should be a text and is ' '"),
        ('{"instruction": 3, "image": "red.png"}', "line 2: 'instruction' should be a text and is 3"),
        ('{"prompt": "x", "image": "gone.png"}', r"line 2: no picture .*gone\.png, nor .*images/gone\.png"),
        ('{"prompt": "x", "image": "red.png", "images": ["red.png"]}', "line 2: both 'image' and 'images' could be the source"),
        ('{"prompt": "x", "images": []}', r"line 2: 'images' holds \[\]"),
        ('{"prompt": "x", "image": {"bytes": 1}}', "line 2: 'image' holds {'bytes': 1}"),
        ('{"prompt": "x", "source": [], "edit": {"kind": "add"}}', "line 2: 'source' holds \\[\\] where the path of a picture"),
    ],
)
def test_a_malformed_line_is_named(folder: Path, line: str, message: str) -> None:
    path = folder / "p.jsonl"
    path.write_text(f'{{"prompt": "fine"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_prompts(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no prompt file .*heldouts\.jsonl: .*edit_train"):
        read_prompts("shapes/heldouts")
    (tmp_path / "e.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no prompts"):
        read_prompts(tmp_path / "e.txt")
    (tmp_path / "n.json").write_text("3", encoding="utf-8")
    with pytest.raises(UserError, match="expected a list of prompts"):
        read_prompts(tmp_path / "n.json")
    (tmp_path / "p.md").write_text("a cat\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"p\.md: a prompt file ends in"):
        read_prompts(tmp_path / "p.md")


def test_only_the_end_of_a_line_ends_a_prompt(tmp_path: Path) -> None:
    texts = ["one\u2028two", "three\x0bfour", "five\u0085six"]
    (tmp_path / "p.JSONL").write_text("\n".join(f'{{"prompt": "{text}"}}' for text in texts[:1]), encoding="utf-8")
    assert [p.text for p in read_prompts(tmp_path / "p.JSONL")] == texts[:1]
    (tmp_path / "p.txt").write_bytes("\r\n".join(texts).encode())
    assert [p.text for p in read_prompts(tmp_path / "p.txt")] == texts


@pytest.mark.parametrize(
    "metadata", [{"edit": "colour"}, {"edit": {}}, {"include": None}, {"include": ["circle"]}, {"include": "x"}, {}]
)
def test_metadata_of_other_worlds_are_not_of_ours(metadata: dict[str, Any]) -> None:
    assert ShapesOracle().why_not([Prompt("p", "a dog", metadata)])


def data(train: str, heldout: str, choose_from: int = 1, shared: Any = "refuse") -> PromptDataModule:
    sizes = {"candidates_per_update": 4, "group_size": 2, "updates": 2}
    reading = {"columns": {}, "image_root": None, "min_side": 1, "max_side": 99, "shared": shared}
    return PromptDataModule(train=train, heldout=heldout, unseen=None, choose_from=choose_from, seed=1, **sizes, **reading)


def test_prompts_whose_groups_tie_take_part_less(folder: Path) -> None:
    """Of eight that are dealt, the four with the fewest ties in a row; of equal ones the first."""
    rows = [PromptRow(str(k), f"prompt {k}") for k in range(8)]
    plain, chosen = Updates(Prompts(rows), 8, 3, seed=1), Updates(Prompts(rows), 4, 3, seed=1, choose_from=2)
    dealt = [prompt.id for prompt in plain[0][1]]
    assert [prompt.id for prompt in chosen[0][1]] == dealt[:4]
    chosen.silent = {dealt[0]: 1, dealt[1]: 2, dealt[2]: 0, dealt[7]: 1}
    assert [prompt.id for prompt in chosen[0][1]] == dealt[2:6]
    chosen.silent = dict.fromkeys(dealt[2:], 1)
    assert [prompt.id for prompt in chosen[0][1]] == dealt[:4]
    again = Updates(Prompts(rows[:2]), 8, 3, seed=1, choose_from=2)  # a file that is smaller than an update
    assert len(again[0][1]) == 8


def test_what_was_heard_of_prompts_is_kept(folder: Path) -> None:
    one, other = data("shapes/train", "shapes/heldout", 2), data("shapes/train", "shapes/heldout", 2)
    first = one._updates[0][1]
    one.heard(first, [True, False])
    one.heard(first, [True, True])
    one.heard(first, [False, None])
    assert one.state_dict() == {"silent": {first[0].id: 0, first[1].id: 1}}
    other.load_state_dict(one.state_dict())
    assert other._updates[0] != one._updates[3]
    assert [p.id for p in other._updates[0][1]] == [p.id for p in one._updates[0][1]] != [p.id for p in first]
    with pytest.raises(UserError, match="choose_from"):
        data("shapes/train", "shapes/heldout", 0)


def test_the_same_instruction_for_another_source_is_another_prompt(folder: Path) -> None:
    train, heldout = read_prompts("shapes/edit_train"), read_prompts("shapes/edit_heldout")
    assert {p.text for p in train} & {p.text for p in heldout}  # "remove the red circle" says little without its source
    _, update = next(iter(data("shapes/edit_train", "shapes/edit_heldout").train_dataloader()))
    assert all(prompt.source is not None for prompt in update)
    with pytest.raises(UserError, match=r"500 prompts of data\.heldout are also trained on"):
        data("shapes/edit_heldout", "shapes/edit_heldout")
    one = written(folder, {"prompt": "x", "image": "red.png"}, name="one.jsonl")
    other = written(folder, {"prompt": "x", "image": "blue.png"}, name="other.jsonl")
    again = written(folder, {"prompt": "x", "image": "../" + folder.name + "/red.png"}, name="again.jsonl")
    data(str(one), str(other))
    with pytest.raises(UserError, match=r"1 prompts of data\.heldout are also trained on, 'x' for one"):
        data(str(one), str(again))


def test_held_out_prompts_that_are_trained_on_can_be_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train, heldout = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("a cat\na dog\n", encoding="utf-8")
    heldout.write_text("a bird\na dog\na cat\na cow\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"2 prompts of data.heldout are also trained on, 'a cat' for one\. data\.shared=drop"):
        data(str(train), str(heldout))
    left = data(str(tmp_path), str(tmp_path), shared="drop").heldout
    assert [(p.id, p.text) for p in left] == [("test/1", "a bird"), ("test/4", "a cow")]
    assert "2 prompts of data.heldout are also trained on" in caplog.text
    with pytest.raises(UserError, match="none are left"):
        data(str(train), str(train), shared="drop")
    with pytest.raises(UserError, match="shared=maybe: choose refuse or drop"):
        data(str(train), str(heldout), shared="maybe")
