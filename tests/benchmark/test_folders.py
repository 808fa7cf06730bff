"""Each benchmark's folder: where its pictures lie, and what its scorer would say where one is missing, misnamed or too small.

The paths are written out by hand, from the projects' own scorers (docs/benchmarks.md)."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.errors import InstantiationException
from PIL import Image

from arr_rpo.benchmark.drawing import draw
from arr_rpo.commands.cli.errors import told
from arr_rpo.commands.generate import Benchmark
from arr_rpo.types import UserError
from tests.benchmark import made
from tests.conftest import configure

PATHS = {
    "plain": ["m/00000_0.png", "m/00001_0.png", "m/00002_0.png"],
    "geneval": [f"m/0000{p}/samples/000{s}.png" for p in range(3) for s in range(4)],
    "dpg": ["m/7.png", "m/COCOval0001.png", "m/posescript1.png"],
    "t2i_compbench": [f"examples/samples/{made.TEXTS[p]}_0000{p}{s}.png" for p in range(3) for s in range(10)],
    "unigenbench": [f"eval_data/en/m/{10 + p}_{s}.png" for p in range(3) for s in range(4)],
    "tiif": [
        f"output/{kind}/m/{register}/{line}.png"
        for kind in ("2d_spatial_relation", "color")
        for line in range(3)
        for register in ("short_description", "long_description")
    ],
    "gedit": ["m/fullset/style_change/en/k0.png", "m/fullset/color_alter/en/k1.png", "m/fullset/color_alter/en/k2.png"],
    "imgedit": ["m/1007.png", "m/1008.png"],
}
PROMPTS: dict[str, Callable[[Path], Path]] = {name: getattr(made, name) for name in PATHS if name != "plain"}
PROMPTS["plain"] = made.t2i_compbench
SCORERS = sorted(PATHS)


def benchmark(name: str, folder: Path, *overrides: str) -> Benchmark:
    prompts = PROMPTS[name](folder)
    fixed = [f"benchmark={name}", f"prompts={prompts}", "name=m", "output=nowhere"]
    fixed += [f"sources={folder / 'originals'}"] if name == "imgedit" else []
    return Benchmark.of(configure([*fixed, *overrides], command="generate"))


def drawn(one: Benchmark, output: Path, painter: made.Painter | None = None, rank: int = 0, world: int = 1) -> None:
    told: list[int] = []
    draw(
        painter or made.Painter(),
        one.layout,
        one.files,
        output,
        model="m",
        seed=3,
        batch_size=5,
        rank=rank,
        world=world,
        done=told.append,
    )
    assert world > 1 or sum(told) == len(one.files)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", SCORERS)
def test_pictures_lie_where_the_scorer_looks_and_pass_its_check(name: str, tmp_path: Path) -> None:
    one, output = benchmark(name, tmp_path / "in"), tmp_path / "out"
    assert [file.path for file in one.files] == PATHS[name]
    drawn(one, output)
    pictures = sorted(path for path in content(output) if path.endswith(".png") and not path.endswith("_SRCIMG.png"))
    assert pictures == sorted(PATHS[name])
    assert one.findings(output, made.SIZE) == []


@pytest.mark.parametrize("name", SCORERS)
def test_a_missing_a_misnamed_and_a_wrong_sized_picture_are_named(name: str, tmp_path: Path) -> None:
    one, output = benchmark(name, tmp_path / "in"), tmp_path / "out"
    drawn(one, output)
    small, moved = output / PATHS[name][0], output / PATHS[name][-1]
    Image.new("RGB", (5, 5)).save(small)
    moved.rename(moved.with_name("of_nobody_x.png"))
    found = "\n".join(one.findings(output, made.SIZE))
    assert f"{PATHS[name][0]} is 5 x 5 pixels and not" in found
    assert "of_nobody_x.png" in found
    assert (moved.name if name == "geneval" else f"{PATHS[name][-1]} is missing") in found
    small.write_bytes(small.read_bytes()[:40])
    assert f"{PATHS[name][0]} cannot be read as a picture" in "\n".join(one.findings(output, made.SIZE))


@pytest.mark.parametrize("name", SCORERS)
def test_stopped_and_shared_out_it_ends_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    one = benchmark(name, tmp_path / "in")
    drawn(one, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        drawn(one, tmp_path / "part", made.Painter(stop_at=0 if len(one.files) < 4 and name != "dpg" else 1))
    for path in list(content(tmp_path / "part"))[::2]:
        (tmp_path / "part" / path).unlink()
    drawn(one, tmp_path / "part")
    assert content(tmp_path / "part") == content(tmp_path / "whole")
    for rank in (1, 0):
        drawn(one, tmp_path / "shared", rank=rank, world=2)
    assert content(tmp_path / "shared") == content(tmp_path / "whole")
    again = made.Painter()
    drawn(one, tmp_path / "shared", again)
    assert again.calls == 0


def test_genevals_row_lies_beside_the_samples_and_is_compared(tmp_path: Path) -> None:
    one = benchmark("geneval", tmp_path / "in")
    drawn(one, tmp_path / "out")
    row = tmp_path / "out/m/00001/metadata.jsonl"
    expected = {"tag": "single_object", "include": [{"class": "circle", "count": 1}], "prompt": "two blue stars"}
    assert json.loads(row.read_text()) == expected
    row.write_text(json.dumps({**expected, "prompt": "another"}))
    (tmp_path / "out/m/00002/metadata.jsonl").unlink()
    (tmp_path / "out/m/notes").mkdir()
    (tmp_path / "out/m/00000/samples/0003.jpg").touch()
    found = one.findings(tmp_path / "out", None)
    assert found[0] == "m/notes is skipped: it is no folder named by digits"
    assert "m/00000/samples/0003.jpg is skipped: a picture is named by digits and ends in .png" in found
    assert "m/00001/metadata.jsonl is not line 2 of the benchmark's: other prompts are scored" in found
    assert any(line.startswith("m/00002/metadata.jsonl stops the scorer") for line in found)


def test_a_grid_has_no_padding_and_comes_apart_again(tmp_path: Path) -> None:
    one = benchmark("dpg", tmp_path / "in")
    colours = ["red", "lime", "blue", "white"]
    pictures = [Image.new("RGB", (4, 3), colour) for colour in colours]
    sheet = one.layout.joined(pictures)
    assert sheet.size == (8, 6)
    assert [sheet.getpixel(place) for place in ((3, 2), (4, 2), (3, 3), (4, 3))] == [p.getpixel((0, 0)) for p in pictures]
    for apart, picture in zip(one.layout.apart(sheet), pictures, strict=True):
        assert np.array_equal(np.asarray(apart), np.asarray(picture))


def test_edits_have_their_source_beside_and_as_prompt(tmp_path: Path) -> None:
    one, output = benchmark("gedit", tmp_path / "in"), tmp_path / "out"
    drawn(one, output)
    with Image.open(output / "m/fullset/color_alter/en/k2_SRCIMG.png") as picture:
        assert picture.size == (12, 6)
    (output / "m/fullset/color_alter/en/k2_SRCIMG.png").unlink()
    [found] = one.findings(output, made.SIZE)
    assert found == "m/fullset/color_alter/en/k2_SRCIMG.png is missing: the edit is left out of the mean"
    assert (source := one.files[2].item.prompt().source) is not None
    assert source.size == (12, 6)
    (tmp_path / "in" / "2.png").unlink()
    with pytest.raises(UserError, match=r"line 3|row 3.*sources=FOLDER"):
        one.files[2].item.prompt()


def test_an_edit_of_another_size_than_those_of_alike_sources_is_named(tmp_path: Path) -> None:
    one, output = benchmark("gedit", tmp_path / "in"), tmp_path / "out"
    for number in range(3):
        made.source(tmp_path / "in" / f"{number}.png", 0)
    drawn(one, output)
    assert one.findings(output, None) == []
    Image.new("RGB", (7, 7)).save(output / PATHS["gedit"][2])
    width, height = made.SIZE
    assert one.findings(output, None) == [f"{PATHS['gedit'][2]} is 7 x 7 pixels and not {width} x {height}"]


def test_the_hubs_parquet_file_brings_its_pictures(tmp_path: Path) -> None:
    """GEdit-Bench as the hub has it: a struct of bytes in `input_image`."""
    table = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    made.source(tmp_path / "s.png", 2)
    row = {"key": "k1", "task_type": "color_alter", "instruction": "make it red", "instruction_language": "cn"}
    cell = {"bytes": (tmp_path / "s.png").read_bytes(), "path": "s.png"}
    parquet.write_table(table.Table.from_pylist([{**row, "input_image": cell}]), tmp_path / "train.parquet")
    chosen = ["benchmark=gedit", f"prompts={tmp_path / 'train.parquet'}", "name=m", "output=nowhere"]
    one = Benchmark.of(configure(chosen, command="generate"))
    assert [file.path for file in one.files] == ["m/fullset/color_alter/cn/k1.png"]
    drawn(one, tmp_path / "out")
    with Image.open(tmp_path / "out/m/fullset/color_alter/cn/k1_SRCIMG.png") as picture:
        assert (picture.size, picture.getpixel((0, 0))) == ((12, 6), (0, 0, 80))


def refused(overrides: list[str]) -> str:
    """What the user is told."""
    with pytest.raises((UserError, InstantiationException)) as caught:
        Benchmark.of(configure(overrides, command="generate"))
    return told(caught.value) or ""


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t2i_compbench", "snake_case prompt", "up to the first '_', which is not its prompt"),
        ("t2i_compbench", "either/or", "'either/or' cannot be part of a file name"),
        ("t2i_compbench", "long " * 60, "longer than 255 bytes"),
        ("geneval", '{"tag": "x"}', "line 1: no text under 'prompt'; there are tag"),
        ("geneval", '{"prompt": "a", "prompt": "b"}', "the key 'prompt' stands twice"),
        ("imgedit", '{"1": {"prompt": "x", "id": "a"}, "1": {}}', "the key '1' stands twice"),
        ("unigenbench", "index,prompt_en\n1,a\n1,b\n", "'1' stands there twice"),
    ],
)
def test_what_cannot_be_named_or_read_is_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = PROMPTS[name](tmp_path / "in")
    path.write_text(text, encoding="utf-8")
    assert said in refused([f"benchmark={name}", f"prompts={path}", "output=nowhere"])


def test_a_prompt_file_that_is_not_given_is_asked_for() -> None:
    said = refused(["benchmark=geneval", "output=nowhere"])
    assert said.startswith("prompts is not given: prompts=... names the benchmark's .jsonl")


def test_a_row_beside_says_what_was_drawn_and_what_json_can_hold(tmp_path: Path) -> None:
    rows = '{"caption": "a red kite", "prompt": "another text", "when": 3}'
    (tmp_path / "p.jsonl").write_text(rows, encoding="utf-8")
    fixed = ["benchmark=plain", f"prompts={tmp_path / 'p.jsonl'}", "data.columns.prompt=caption", "name=m", "output=nowhere"]
    drawn(Benchmark.of(configure(fixed, command="generate")), tmp_path / "out")
    assert json.loads((tmp_path / "out/m/00000.json").read_text()) == {"prompt": "a red kite", "when": 3}


def test_two_starts_do_not_write_into_each_others_files(tmp_path: Path) -> None:
    one = benchmark("geneval", tmp_path)
    other = tmp_path / "out" / ".parts" / "0-elsewhere-1"  # another machine's
    gone = tmp_path / "out" / ".parts" / f"0-{socket.gethostname()}-999999999"
    for folder in (other, gone):
        folder.mkdir(parents=True)
    drawn(one, tmp_path / "out")
    assert other.is_dir() and not gone.exists()
    assert [path.name for path in (tmp_path / "out" / ".parts").iterdir()] == [other.name]
