"""`report.py` on run folders as a training, a crash and a stranger leave them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from arr_rpo.commands.report import COLUMNS, report
from arr_rpo.types import UserError
from tests.report import made

ROOT = Path(__file__).parents[2]


def write_run(folder: Path, arm: str, seed: int, after: float) -> Path:
    """What a finished run leaves, as far as the report reads it."""
    place = folder / f"arm={arm},seed={seed}"
    study = {"name": "forms", "question": "Which <form>?", "arm": arm, "reference": "scalar", "claims": [["rubric", "scalar"]]}
    made.write(
        place / "config.yaml", {"name": "t2i_rpo", "seed": seed, "run_dir": str(place), "reward": {"form": arm}, "study": study}
    )
    strict, judge = {"before": 0.25, "after": after}, {"calls": 1280, "ties": 3, "flips": 2, "failures": 1}
    made.write(
        place / "summary.json",
        {"heldout_strict": strict, "kl": 3.5, "images": 640, "judge": judge, "seconds": 90.0, "seed": seed},
    )
    made.write(
        place / "versions.json", {"torch": "2.13.0", "commit": "abcdef0123456", "dirty": False, "commands": ["python train.py"]}
    )
    (place / "verdicts.jsonl").write_text('{"step": 0}\n', encoding="utf-8")
    rows = ({"update": update, "reward/mean": value} for update, value in enumerate((0.0, 0.5)))
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return place


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    for seed in (1, 2, 3):
        write_run(folder, "rubric", seed, 0.75 + 0.01 * seed)
        write_run(folder, "scalar", seed, 0.5 + 0.005 * seed)
    return folder


def test_a_study_makes_its_files(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = report(made.report_config(f"study={study}"))
    assert page == study / "report.html"
    html = page.read_text(encoding="utf-8")
    assert "Which &lt;form&gt;?" in html
    assert "2 arms, 6 runs (6 finished)" in html
    assert {path.name for path in study.glob("*.*")} == {"report.html", "report.md", "results.csv", "change.svg", "heldout.svg"}
    text = (study / "report.md").read_text(encoding="utf-8")
    assert "rubric > scalar: shown as a whole." in text  # 0.255, 0.26, 0.265
    assert "rubric > scalar: shown (+0.260" in capsys.readouterr().out


def test_the_table_for_other_programs(study: Path, tmp_path: Path) -> None:
    report(made.report_config(f"study={study}", f"output={tmp_path / 'out'}"))
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["arm"], row["seed"]) for row in rows] == [(arm, seed) for arm in ("rubric", "scalar") for seed in "123"]
    assert list(rows[0].values()) == ["rubric", "1", "shapes", "0.25", "0.76", "3.5", "640", "1280", "90", "3", "2", "1"]
    assert not (study / "report.html").exists()


def test_several_folders_and_another_reference(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "other", "oracle", 1, 0.9)
    both = f"study=[{study},{tmp_path / 'other'}]"
    assert report(made.report_config(both, "reference=oracle")) == tmp_path / "report.html"
    said = capsys.readouterr().out
    assert "scalar > oracle: not shown (" in said  # one seed
    assert "- rubric > scalar: shown as a whole." in said
    with pytest.raises(UserError, match="reference='none': no such arm; there are 'rubric', 'scalar', 'oracle'"):
        report(made.report_config(both, "reference=none"))


def test_a_run_that_crashed_is_shown_and_named(study: Path) -> None:
    place = study / "arm=scalar,seed=3"
    (place / "summary.json").unlink()
    (place / "config.yaml").write_text("name: [cut", encoding="utf-8")
    made.write(place / "verdict_pictures" / "update_00000.json", {"update": 0, "pairs": []})
    (place / "verdict_pictures" / "update_00010.json").write_text('{"update": 10, "pai', encoding="utf-8")
    html = report(made.report_config(f"study={study}")).read_text(encoding="utf-8")
    assert "the run did not end" in html
    assert "config.yaml cannot be read" in html
    assert "6 runs (5 finished)" in html


def test_one_run_is_a_study_of_one(study: Path) -> None:
    html = report(made.report_config(f"study='{study / 'arm=rubric,seed=1'}'")).read_text(encoding="utf-8")
    assert "1 arm, 1 run (1 finished)" in html


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        report(made.report_config(f"study={tmp_path}"))
    with pytest.raises(UserError, match="no such folder"):
        report(made.report_config(f"study={tmp_path / 'gone'}"))


@pytest.mark.slow
def test_the_command_needs_neither_torch_nor_lightning(study: Path) -> None:
    """As a user runs it: it starts fast, and `study=` is taken for a folder although train.py has a group of that name."""
    code = (
        "import sys; sys.argv = ['report.py', sys.argv[1]]; from arr_rpo.commands.report import main; main();"
        "print([name for name in ('torch', 'pytorch_lightning', 'transformers', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, f"study={study}"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
    assert json.dumps(str(study / "report.html"))[1:-1] in done.stdout
