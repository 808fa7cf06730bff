"""The table of runs, against figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arr_rpo.commands.table import arm, interval, main, table


def write_run(folder: Path, seed: int, before: float, after: float) -> None:
    folder.mkdir(parents=True)
    summary = {
        "heldout_strict": {"before": before, "after": after},
        "heldout_criteria": {"before": 0.6, "after": 0.7},
        "kl": 12.34,
        "judge": {"ties": 3, "flips": 2, "failures": 1},
        "seconds": 90.0,
        "seed": seed,
    }
    (folder / "config.yaml").write_text("name: t2i_rpo\n", encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def test_rows_and_arms(tmp_path: Path) -> None:
    write_run(tmp_path / "seed=2", 2, 0.3, 0.5)
    write_run(tmp_path / "seed=1", 1, 0.3, 0.4)
    write_run(tmp_path / "judge=random,seed=1", 1, 0.3, 0.25)
    lines = table([tmp_path]).splitlines()
    assert "| t2i_rpo | 1 | 0.300 | 0.400 | +0.100 | 0.600 | 0.700 | 12.3 | 3 / 2 / 1 | 1.5 |" in lines
    assert lines.index(next(x for x in lines if x.startswith("| t2i_rpo | 1 |"))) < lines.index(
        next(x for x in lines if x.startswith("| t2i_rpo | 2 |"))
    )
    # Mean 0.15, standard error 0.05, t of one degree of freedom 12.706: 0.15 -+ 0.635.
    assert "| t2i_rpo | 2 | +0.150 | -0.485 to +0.785 |" in lines
    assert "| t2i_rpo, judge=random | 1 | -0.050 | one seed |" in lines


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("seed=3", "rpo"),
        ("judge=random,seed=3", "rpo, judge=random"),
        ("algorithm=rpo_paper,judge=random,seed=12", "rpo, algorithm=rpo_paper, judge=random"),
        ("2026-11-24_08-00-00", "rpo"),
    ],
)
def test_an_arm_is_the_experiment_and_the_overrides_but_the_seed(folder: str, name: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "config.yaml").write_text("name: rpo\n", encoding="utf-8")
    assert arm(tmp_path / folder) == name


def test_equal_changes_have_no_width() -> None:
    assert interval([0.1, 0.1]) == "+0.100 in each"


def test_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert f"no summary.json below {tmp_path}" in capsys.readouterr().err
