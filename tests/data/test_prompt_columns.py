"""Columns of any name and the pictures that they name; what could be read in two ways is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from arr_rpo.data.prompts import read_prompts
from arr_rpo.types import UserError
from tests.data.made import BLUE, RED, how, of_rows

# -- columns ---------------------------------------------------------------------------------------------------------------


def test_columns_of_any_name(folder: Path) -> None:
    row = {"instruction_en": "more", "instruction_cn": "更多", "before": "red.png", "others": ["blue.png"], "avoid": "blur"}
    path = of_rows(folder / "p.jsonl", row)
    columns: dict[str, str | None] = {"prompt": "instruction_en", "source": "before"}
    columns |= {"references": "others", "negative": "avoid"}
    (prompt,) = read_prompts(path, how(columns))
    assert (prompt.text, prompt.negative, dict(prompt.metadata)) == ("more", "blur", {"instruction_cn": "更多"})
    assert prompt.source is not None
    assert [p.getpixel((0, 0)) for p in (prompt.source, *prompt.references)] == [RED, BLUE]


@pytest.mark.parametrize(
    "key",
    ["original_image", "image_path", "input_images", "img", "src_img_path", "source_img", "Image", "path_src", "input_image"],
)
def test_common_names_of_pictures(folder: Path, key: str) -> None:
    (prompt,) = read_prompts(of_rows(folder / "p.jsonl", {"prompt": "more", key: "red.png"}))
    assert prompt.source is not None


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"media": "clips/1.png"}, "media"),
        ({"media": ["red.png"]}, "media"),
        ({"before": "red.png"}, "before"),
        ({"before": {"bytes": None, "path": "x"}}, "before"),
        ({"x": "data:image/png;base64,AAAA"}, "x"),
        ({"user_image": "pictures/7"}, "user_image"),
        ({"photo_url": "https://h/7"}, "photo_url"),
        ({"image": "red.png", "path1": "a.jpg"}, None),  # the source is known, and what else is a picture is not guessed
        ({"path1": "a.jpg", "path2": "b.jpg"}, "path1"),
    ],
)
def test_what_looks_like_a_picture_is_named(folder: Path, more: dict[str, Any], named: str | None) -> None:
    path = of_rows(folder / "p.jsonl", {"prompt": "more", **more})
    with pytest.raises(UserError, match=rf"line 1: '{named or 'path1'}' looks like a picture .*data\.columns={{source: "):
        read_prompts(path)
    (prompt,) = read_prompts(path, how({"source": "image" if "image" in more else None}))
    assert (prompt.source is None) == ("image" not in more)
    assert set(prompt.metadata) == set(more) - {"image"}


@pytest.mark.parametrize(
    "more",
    [
        {"output_image": "x.png"},
        {"edited_images": ["x.png"]},
        {"image_size": 512, "num_images": 4, "image_id": "7", "image_type": "photo"},
        {"tag": "colors", "include": [{"class": "cat", "count": 1}]},
        {"prompt_id": "a/b", "instruction_language": "en", "url": "https://h/page"},
        {"caption_source": "web", "revised_prompt": ""},
    ],
)
def test_what_is_no_source(folder: Path, more: dict[str, Any]) -> None:
    (prompt,) = read_prompts(of_rows(folder / "p.jsonl", {"prompt": "a cat", **more}))
    assert (prompt.text, prompt.source, dict(prompt.metadata)) == ("a cat", None, more)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "caption": "b"}, "both 'prompt' and 'caption' could be the prompt"),
        ({"prompt": "a", "prompt_zh": "b"}, "'prompt_zh' looks like a prompt beside 'prompt'"),
        ({"instruction": "a", "original_caption": "b"}, "'original_caption' looks like a prompt beside 'instruction'"),
        ({"prompt_en": "a", "prompt_zh": "b"}, "no prompt. There are the columns 'prompt_en', 'prompt_zh'"),
        ({"prompt": "a", "source": "red.png", "image": "red.png"}, "both 'source' and 'image' could be the source"),
        ({"prompt": "a", "negative_prompt": ["b"]}, "'negative_prompt' should be a text"),
    ],
)
def test_two_readings_are_refused(folder: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"line 1: {message}"):
        read_prompts(of_rows(folder / "p.jsonl", row))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": "text_en"}, "line 1: no key 'text_en'; there are prompt"),
        ({"source": "image"}, "line 1: no key 'image'"),
        ({"picture": "image"}, r"data\.columns\.picture: no such part of a prompt; there are prompt, source"),
        ({"prompt": None}, "line 1: no prompt"),
    ],
)
def test_columns_that_are_none(folder: Path, columns: dict[str, str | None], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_prompts(of_rows(folder / "p.jsonl", {"prompt": "a cat"}), how(columns))


# -- pictures --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", ["{0}/secret.png", "../secret.png", "link.png", "{0}/gone.png", "../gone.png"])
def test_pictures_stay_below_the_files_folder(tmp_path: Path, ref: str) -> None:
    (tmp_path / "here").mkdir()
    Image.new("RGB", (20, 20), BLUE).save(tmp_path / "secret.png")
    (tmp_path / "here/link.png").symlink_to(tmp_path / "secret.png")
    path = of_rows(tmp_path / "here/p.jsonl", {"prompt": "x", "image": ref.format(tmp_path)})
    with pytest.raises(UserError, match=r"p\.jsonl, line 1: .* leads out of .*data\.image_root=FOLDER"):
        read_prompts(path, how())
    if "gone" not in ref:
        named = of_rows(tmp_path / "here/q.jsonl", {"prompt": "x", "image": "secret.png"})
        (prompt,) = read_prompts(named, how(image_root=str(tmp_path)))
        assert prompt.source is not None


@pytest.mark.parametrize("ref", ["x" * 5000, "a\0b", ".", "a.png/b", "\ufffd\u2028"])
def test_names_that_no_file_has(folder: Path, ref: str) -> None:
    with pytest.raises(UserError, match=r"p\.jsonl, line 1: ") as error:
        read_prompts(of_rows(folder / "p.jsonl", {"prompt": "x", "image": ref}))
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("size", [(1, 1), (20000, 1), (15, 400), (2000, 20)])
def test_pictures_that_are_too_small_are_named(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size).save(tmp_path / "a.png")
    (row,) = read_prompts(of_rows(tmp_path / "p.jsonl", {"prompt": "x", "image": "a.png"}), how()).rows
    with pytest.raises(UserError, match=rf"line 1: .*a\.png has {size[0]} x {size[1]} pixels.* a side must have 16"):
        row.prompt()


def test_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    Image.new("RGB", (4000, 3000), RED).save(tmp_path / "a.png")
    Image.new("RGB", (64, 33), RED).save(tmp_path / "b.png")
    path = of_rows(tmp_path / "p.jsonl", *({"prompt": "x", "image": f"{name}.png"} for name in "ab"))
    assert [p.source.size for p in read_prompts(path, how()) if p.source] == [(64, 48), (64, 33)]


@pytest.mark.parametrize("kind", ["EPS", "PPM", "PDF", "TGA"])
def test_other_formats_under_a_pictures_name_are_refused(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png", kind)
    prompts = read_prompts(of_rows(tmp_path / "p.jsonl", {"prompt": "x", "image": "a.png"}), how())
    with pytest.raises(UserError, match=r"a\.png cannot be read as an image"):
        prompts[0]
