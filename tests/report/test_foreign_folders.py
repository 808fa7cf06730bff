"""A study that somebody sent: whatever its files are or hold, a report comes of it, and nothing from elsewhere is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from arr_rpo.commands.report import report
from arr_rpo.report.pictures import Album, encode
from arr_rpo.report.read_study import read_study
from tests.hostile import brackets, device, fifo
from tests.report.made import picture, report_config, verdict

HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e308, 10**290, "", "x", "\ud800", "../../secret.png", "a\0b", "x" * 300),
    *([], {}, [None], {"a": 1}, [[1]], [{"a": []}], ["a", 2, None]),
)


def sent(folder: Path) -> Path:
    """Two whole runs, one beside the other, and what they may hold."""
    for seed in (1, 2):
        run = folder / f"rubric/seed={seed}"
        parts = {"strict": True, "criteria": 1.0, "parts": {"count": 1.0}}
        picture(run / "heldout_pictures/h.png", (1, 2, 3))
        point = {"images": 8, "judge_calls": 9, "seconds": 1.5, "strict": 0.5, "criteria": 0.5, "kl": 0.1}
        files: dict[str, list[dict[str, Any]]] = {
            "heldout.jsonl": [
                {
                    **{
                        "prompt_id": f"p/{k}",
                        "split": "heldout",
                        "tag": "count",
                        "prompt": "two",
                        "before": parts,
                        "after": parts,
                    },
                    "pictures": {"base": "heldout_pictures/h.png", "trained": "heldout_pictures/h.png"},
                }
                for k in range(2)
            ],
            "progress.jsonl": [
                {"update": k, **point, "parts": {"count": 0.5}, "strict_by_prompt": {"p/0": True}} for k in (0, 1)
            ],
            "metrics.jsonl": [{"update": k, "reward/mean": 0.5, "criterion/count": 0.5} for k in range(2)],
            "verdicts.jsonl": [{"update": 0}],
        }
        for name, rows in files.items():
            (run / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        summary = {
            **{"seed": seed, "kl": 1.0, "images": 8, "judge": {"calls": 9}, "seconds": 3.0, "heldout_strict_gain": 0.1},
            **{"heldout_strict": {"before": 0.4, "after": 0.5}, "heldout_criteria": {"before": 0.4, "after": 0.5}},
        }
        study = {
            "name": "s",
            "question": "q",
            "reference": "rubric",
            "arms": ["rubric"],
            "pairs": [["a", "b"]],
            "claims": ["a > b"],
        }
        documents = {
            "summary.json": summary,
            "state.json": {"state": "finished", "update": 2},
            "versions.json": {"torch": "2", "commit": "0" * 40, "dirty": False, "commands": ["python train.py"]},
            "config.yaml": {
                "seed": seed,
                "name": "n",
                "run_dir": str(run),
                "data": {"candidates_per_update": 4},
                "study": study,
            },
            "verdict_pictures/update_00000.json": {
                "update": 0,
                "pairs": [verdict(run / "verdict_pictures", 0, 0, seed, k) for k in range(2)],
            },
        }
        for name, data in documents.items():
            (run / name).write_text(json.dumps(data), encoding="utf-8")
    return folder


def places(data: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, part in parts:
        yield from places(part, (*at, key))


def changed(data: Any, at: tuple[str | int, ...], value: Any) -> Any:
    if not at:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[at[0]] = changed(copy[at[0]], at[1:], value)
    return copy


DOCUMENTS = ("summary.json", "state.json", "versions.json", "config.yaml", "verdict_pictures/update_00000.json")
ROWS = ("heldout.jsonl", "progress.jsonl", "metrics.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DOCUMENTS, *ROWS])
def test_every_value_may_be_anything(tmp_path: Path, name: str) -> None:
    path = sent(tmp_path / "s") / "rubric/seed=1" / name
    text = path.read_text(encoding="utf-8")
    data = [json.loads(line) for line in text.splitlines()] if name in ROWS else json.loads(text)
    config = report_config(f"study='{tmp_path / 's'}'", f"output={tmp_path / 'out'}")
    for number, at in enumerate(places(data)):
        if not at and name in ROWS:
            continue
        for value in HOSTILE[number % 9 :: 9]:
            new = changed(data, at, value)
            rows = new if name in ROWS else [new]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            report(config)
    assert "seed=1" in (tmp_path / "out/report.md").read_text(encoding="utf-8")


def digits(path: Path) -> None:
    path.write_text(f'{{"seed": {"9" * 5000}}}\n', encoding="utf-8")


def elsewhere(path: Path) -> None:
    (path.parent.parent / "private.json").write_text('{"seed": 77}\n', encoding="utf-8")
    path.symlink_to(path.parent.parent / "private.json")


@pytest.mark.parametrize("kind", [fifo, device, brackets, digits, elsewhere])
@pytest.mark.parametrize("name", [*DOCUMENTS, *ROWS, "verdicts.jsonl"])
def test_a_file_that_is_none(tmp_path: Path, name: str, kind: Any) -> None:
    run = sent(tmp_path / "s") / "rubric/seed=1"
    (run / name).unlink(missing_ok=True)
    kind(run / name)
    report(report_config(f"study='{tmp_path / 's'}'", f"output={tmp_path / 'out'}"))
    if name == "verdicts.jsonl" and kind not in (fifo, device):
        return  # it is not looked into
    said = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    own = Path(name).name
    words = (f"{own} cannot be read", f"{own}: 1 lines cannot be read", f"the last line of {own} is cut off")
    assert any(text in said for text in words)


@pytest.mark.parametrize("outside", ["absolute", "above", "link", "folder"])
def test_nothing_outside_of_the_run_is_embedded(tmp_path: Path, outside: str) -> None:
    study = sent(tmp_path / "s")
    run = study / "rubric/seed=1"
    secret = picture(tmp_path / "secret.png", (255, 0, 255))
    name = {"absolute": str(secret), "above": "../../../secret.png", "link": "link.png", "folder": "f/secret.png"}[outside]
    for folder in (run, run / "verdict_pictures"):
        (folder / "link.png").symlink_to(secret)
        (folder / "f").symlink_to(tmp_path)
    rows = [json.loads(line) for line in (run / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["pictures"] = {"base": name, "trained": name}
    (run / "heldout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sample = run / "verdict_pictures/update_00000.json"
    told = json.loads(sample.read_text(encoding="utf-8"))
    for pair in told["pairs"]:
        pair["pictures"], pair["source"] = [name, name], name
    sample.write_text(json.dumps(told), encoding="utf-8")
    read = read_study(study)
    assert [prompt.pictures for prompt in read.runs[0].heldout] == [{}, {}]
    report(report_config(f"study='{study}'", f"output={tmp_path / 'out'}"))
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert encode(Image.open(secret), 192, 96)["src"] not in page
    assert (
        str(encode(Image.open(run / "heldout_pictures/h.png"), 192, 96)["src"]) in page
    )  # of the other run: the form is right


def test_a_picture_that_would_start_a_program_is_left_out(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file's name ends in."""
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path, "EPS")
    assert Album(side=8, budget=1e6).add(path) is None
