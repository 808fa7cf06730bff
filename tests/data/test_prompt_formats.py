"""Prompts as people have them: tables, encodings, folders, JSON of any shape; and nothing is guessed at in silence."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from arr_rpo.data import arrow
from arr_rpo.data.prompts import Prompts, read_prompts
from arr_rpo.types import UserError
from tests.data.made import BLUE, RED, how, of_rows, texts

SHARED = Path(__file__).parents[3] / "shared" / "data"


# -- encodings -------------------------------------------------------------------------------------------------------------

TWO = "ein grüner Kreis\r\n赤い星\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv"])
def test_encodings(tmp_path: Path, encoding: str, suffix: str) -> None:
    lines = TWO.splitlines()
    text = {
        ".txt": TWO,
        ".jsonl": "".join(json.dumps({"prompt": line}, ensure_ascii=False) + "\r\n" for line in lines),
        ".csv": "prompt\r\n" + TWO,
    }[suffix]
    (tmp_path / f"p{suffix}").write_bytes(text.encode(encoding))
    assert texts(read_prompts(tmp_path / f"p{suffix}")) == lines


@pytest.mark.parametrize("mark", ["\ufeff", ""])
@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_16_of_both_orders(tmp_path: Path, order: str, mark: str) -> None:
    (tmp_path / "p.txt").write_bytes((mark + "a cat\na dog\n").encode(f"utf-16-{order}"))
    if mark:
        assert texts(read_prompts(tmp_path / "p.txt")) == ["a cat", "a dog"]
        return
    with pytest.raises(UserError, match=r"p\.txt, line 1 holds NUL characters, as UTF-16 without a byte-order mark"):
        read_prompts(tmp_path / "p.txt")


def test_a_wrong_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("a cat\nein grüner Kreis\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"p\.txt, line 2 is no UTF-8 .*save the file as UTF-8"):
        read_prompts(tmp_path / "p.txt")


def test_old_ends_of_lines(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"a cat\ra dog\r")
    assert texts(read_prompts(tmp_path / "p.txt")) == ["a cat", "a dog"]


# -- tables ----------------------------------------------------------------------------------------------------------------


def test_csv_and_tsv(folder: Path) -> None:
    with (folder / "p.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["Prompt", "Category"], ['a "cat", asleep\non a mat', "animals"], ["a dog", "animals"]])
    first, second = read_prompts(folder / "p.csv")
    assert (first.id, first.text, dict(first.metadata)) == ("p/1", 'a "cat", asleep\non a mat', {"Category": "animals"})
    assert second.text == "a dog"
    (folder / "e.tsv").write_text("instruction\timage\nmake it blue\tred.png\n", encoding="utf-8")
    (folder / "quoted.tsv").write_text('prompt\tn\n"a ""cat"""\t1\n', encoding="utf-8")
    (folder / "plain.tsv").write_text('prompt\tn\n"The Starry Night" as a mosaic\t1\n', encoding="utf-8")
    assert texts(read_prompts(folder / "quoted.tsv")) == ['a "cat"']
    assert texts(read_prompts(folder / "plain.tsv")) == ['"The Starry Night" as a mosaic']
    (edit,) = read_prompts(folder / "e.tsv")
    assert edit.source is not None
    assert edit.source.getpixel((0, 0)) == RED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,x\na cat\n", "row 1 has 1 cells, and the first line names 2"),
        ("prompt\na cat, a dog\n", "row 1 has 2 cells, and the first line names 1"),
        ("prompt,prompt\na,b\n", "two columns are called 'prompt'"),
        ('prompt\n"a cat\n', "line 2 is no row of a table"),
        ("a cat\na dog\n", "row 1: no prompt. There are the columns 'a cat'"),
        ("prompt\n", "holds no prompts"),
        ("", "holds no prompts"),
        ("instruction,image\nx,\n", "row 1: 'image' holds ''"),
    ],
)
def test_tables_that_are_none(folder: Path, text: str, message: str) -> None:
    (folder / "p.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_prompts(folder / "p.csv")


def test_parquet_with_pictures_inside(folder: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    red, blue = ({"bytes": (folder / f"{name}.png").read_bytes(), "path": None} for name in ("red", "blue"))
    rows = [
        {"instruction": "more", "input_images": [red, blue], "n": 1},
        {"instruction": "less", "input_images": [blue], "n": 2},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "p.parquet")
    prompts = read_prompts(folder / "p.parquet", how())
    first, second = prompts
    assert (first.text, dict(first.metadata), len(first.references)) == ("more", {"n": 1}, 1)
    assert first.source is not None
    assert (first.source.getpixel((0, 0)), first.references[0].getpixel((0, 0))) == (RED, BLUE)
    assert second.source is not None
    assert len({row.asked for row in prompts.rows}) == 2
    of_paths = pyarrow.Table.from_pylist([{"prompt": "more", "image": "red.png"}, {"prompt": "less", "image": "blue.png"}])
    parquet.write_table(of_paths, folder / "q.parquet")
    assert [p.source.getpixel((0, 0)) for p in read_prompts(folder / "q.parquet") if p.source] == [RED, BLUE]


def test_data_sets_on_disk(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"caption": ["a cat", "a dog"], "image": [str(folder / "red.png"), str(folder / "blue.png")]}
    features = datasets.Features({"caption": datasets.Value("string"), "image": datasets.Image()})
    both = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": both.select([1, 0]), "test": both}).save_to_disk(
        folder / "saved"
    )  # with the pictures' bytes
    train, heldout = read_prompts(folder / "saved", how(), "train"), read_prompts(folder / "saved", how(), "heldout")
    assert (texts(train), texts(heldout)) == (["a dog", "a cat"], ["a cat", "a dog"])
    assert [p.source.getpixel((0, 0)) for p in train if p.source] == [BLUE, RED]
    assert texts(read_prompts(folder / "saved/train", how())) == ["a dog", "a cat"]


def test_packages_that_are_missing_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "datasets"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    (folder / "p.parquet").write_bytes(b"PAR1")
    (folder / "saved").mkdir()
    (folder / "saved" / arrow.ON_DISK).write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"pip install 'arr_rpo\[parquet\]'"):
        read_prompts(folder / "p.parquet")
    with pytest.raises(UserError, match=r"pip install 'arr_rpo\[datasets\]'"):
        read_prompts(folder / "saved")


# -- folders ---------------------------------------------------------------------------------------------------------------


def test_a_folder_with_a_file_for_each_split(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a cat\n", encoding="utf-8")
    of_rows(tmp_path / "test.jsonl", {"prompt": "a dog", "negative_prompt": "a leash"})
    assert texts(read_prompts(tmp_path, how(), "train")) == ["a cat"]
    (heldout,) = read_prompts(tmp_path, how(), "heldout")
    assert (heldout.id, heldout.text, heldout.negative) == ("test/1", "a dog", "a leash")
    (tmp_path / "test.txt").write_text("a cow\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"there is both test\.txt and test\.jsonl: name a file"):
        read_prompts(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"one of train\.txt, train_metadata\.txt .*and there is none"):
        read_prompts(tmp_path / "empty", how(), "train")


# -- JSON ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"data": [{"prompt": "a"}, {"prompt": "b"}], "version": 2}', ["a", "b"]),
        ('{"red.png": "a", "blue.png": "b"}', ["a", "b"]),
        ('{"red.png": ["a", "b"], "blue.png": ["c"]}', ["a", "b", "c"]),
        ('{"k1": {"prompt": "a"}, "k2": {"prompt": "b"}}', ["a", "b"]),
    ],
)
def test_shapes_of_json(folder: Path, text: str, expected: list[str]) -> None:
    (folder / "p.json").write_text(text, encoding="utf-8")
    assert texts(read_prompts(folder / "p.json")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"red.png": "a", "red.png": "b"}', "the key 'red.png' stands twice"),
        ('[{"prompt": "a", "prompt": "b"}]', "the key 'prompt' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"prompt": "a", "n": ' + "9" * 5000 + "}]", "a number of 5,000 digits"),
        ('[{"prompt": "\\ud83d"}]', "half of a surrogate pair"),
        ('{"a.png": "x", "b.png": 2}', "expected a list of prompts"),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_hostile_json(folder: Path, text: str, message: str, suffix: str) -> None:
    path = folder / f"p{suffix}"
    path.write_text(
        text.removeprefix("[").removesuffix("]") if suffix == ".jsonl" and '"prompt"' in text else text, encoding="utf-8"
    )
    with pytest.raises(UserError, match=rf"p\{suffix}") as error:
        read_prompts(path)
    if message != "expected a list of prompts" or suffix == ".json":
        assert message in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    for name in ("fifo.txt", "zero.txt"):
        with pytest.raises(UserError, match="no prompt file"):
            read_prompts(tmp_path / name)


# -- published files -------------------------------------------------------------------------------------------------------

PUBLISHED = [
    ("parti/PartiPrompts.tsv", 1632, {}),
    ("geneval/prompts/evaluation_metadata.jsonl", 553, {}),
    ("flow_grpo/dataset/ocr", 1018, {}),
    ("flow_grpo/dataset/geneval", 2212, {}),
    ("flow_grpo/dataset/pickscore", 2048, {}),
    ("DiffusionNFT/dataset/drawbench", 1000, {}),
    ("ImageReward/benchmark/benchmark-prompts.json", 100, {}),
    ("T2I-CompBench/examples/dataset/color_val.txt", 300, {}),
    ("Step1X-Edit/examples/prompt_cn.json", 5, {}),
    ("ImageReward/data/test.json", 466, {"source": None}),
]


@pytest.mark.parametrize(("name", "count", "columns"), PUBLISHED)
def test_published_files(name: str, count: int, columns: dict[str, str | None]) -> None:
    if not (SHARED / name).exists():
        pytest.skip("not at hand")
    prompts = read_prompts(SHARED / name, how(columns))
    assert len(prompts) == count
    assert all(row.text.strip() and "\0" not in row.text for row in prompts.rows)


def test_held_out_edits_in_tables_are_told_by_what_their_pictures_hold(folder: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def table(name: str, *rows: tuple[str, str]) -> Prompts:
        cells = [{"instruction": text, "image": {"bytes": (folder / color).read_bytes(), "path": None}} for text, color in rows]
        parquet.write_table(pyarrow.Table.from_pylist(cells), folder / name)
        return read_prompts(folder / name)

    train = table("train.parquet", ("more", "red.png"), ("less", "red.png"))
    test = table("test.parquet", ("more", "blue.png"), ("more", "red.png"))
    assert test.shared_with(train) == ["more"]
    assert [row.id for row in test.without(train).rows] == ["test/1"]
    shutil.copy(folder / "red.png", folder / "copy.png")
    (folder / "files.jsonl").write_text('{"instruction": "less", "image": "copy.png"}', encoding="utf-8")
    assert read_prompts(folder / "files.jsonl").shared_with(train) == ["less"]
