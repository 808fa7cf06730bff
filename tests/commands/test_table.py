"""The table of runs, against figures worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arr_rpo.commands.table import interval, main, paired, read_arms, table
from arr_rpo.types import UserError


def write_run(folder: Path, seed: int, before: float | None, after: float | None) -> None:
    folder.mkdir(parents=True)
    summary = {
        "heldout_strict": {"before": before, "after": after},
        "heldout_criteria": {"before": 0.6, "after": 0.7},
        "kl": 12.34,
        "judge": {"calls": 640, "ties": 3, "flips": 2, "failures": 1},
        "images": 320,
        "seconds": 90.0,
        "seed": seed,
    }
    (folder / "config.yaml").write_text("name: t2i_rpo\n", encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def test_rows_and_arms(tmp_path: Path) -> None:
    write_run(tmp_path / "seed=2", 2, 0.3, 0.5)
    write_run(tmp_path / "seed=1", 1, 0.3, 0.4)
    write_run(tmp_path / "judge=random,seed=1", 1, 0.3, 0.25)
    lines = table(read_arms([tmp_path])).splitlines()
    assert "| t2i_rpo | 1 | 0.300 | 0.400 | +0.100 | 0.600 | 0.700 | 12.3 | 3 / 2 / 1 | 1.5 |" in lines
    assert lines.index(next(x for x in lines if x.startswith("| t2i_rpo | 1 |"))) < lines.index(
        next(x for x in lines if x.startswith("| t2i_rpo | 2 |"))
    )
    # Mean 0.15, standard error 0.05, t of one degree of freedom 12.706: 0.15 -+ 0.635.
    assert "| t2i_rpo | 2 | +0.150 | -0.485 to +0.785 |" in lines
    assert "| t2i_rpo, judge=random | 1 | -0.050 | one seed |" in lines


def test_what_no_oracle_measures_is_a_dash(tmp_path: Path) -> None:
    write_run(tmp_path / "seed=1", 1, None, None)
    lines = table(read_arms([tmp_path])).splitlines()
    assert "| t2i_rpo | 1 | – | – | – | – | – | 12.3 | 3 / 2 / 1 | 1.5 |" in lines
    assert "| t2i_rpo | 1 | – | not measured |" in lines


def test_what_all_runs_share_names_no_arm(tmp_path: Path) -> None:
    for name in ("algorithm=rpo,judge=oracle,seed=1", "algorithm=grpo,judge=oracle,seed=1", "judge=oracle,seed=1"):
        write_run(tmp_path / name, 1, 0.3, 0.4)
    assert set(read_arms([tmp_path])) == {"t2i_rpo, algorithm=rpo", "t2i_rpo, algorithm=grpo", "t2i_rpo"}


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    for seed, change, other in ((1, 0.1, 0.15), (2, 0.3, 0.45)):
        write_run(tmp_path / f"algorithm=rpo,seed={seed}", seed, 0.2, 0.2 + change)
        write_run(tmp_path / f"algorithm=grpo,seed={seed}", seed, 0.2, 0.2 + other)
    write_run(tmp_path / "algorithm=grpo,seed=3", 3, 0.2, 0.9)  # without a partner
    # Differences 0.05 and 0.15: mean 0.1, standard error 0.05, t 12.706.
    got = paired(read_arms([tmp_path]), "t2i_rpo, algorithm=rpo")
    assert got.splitlines()[2:] == ["| t2i_rpo, algorithm=grpo | 2 | +0.100 | -0.535 to +0.735 |"]
    with pytest.raises(UserError, match="no such arm"):
        paired(read_arms([tmp_path]), "rpo")


def test_the_arms_of_a_study_have_its_names(tmp_path: Path) -> None:
    for arm, seed in (("scalar", 1), ("rubric", 1), ("rubric", 2)):
        write_run(tmp_path / f"arm={arm},seed={seed}", seed, 0.3, 0.4)
    assert {arm: len(runs) for arm, runs in read_arms([tmp_path]).items()} == {"rubric": 2, "scalar": 1}


def test_a_run_without_a_config_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "seed=1", 1, 0.3, 0.4)
    (tmp_path / "seed=1" / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"seed=1: no config\.yaml"):
        read_arms([tmp_path])


def test_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "judge=random,seed=2", 2, 0.3, 0.5)
    write_run(tmp_path / "seed=1", 1, 0.25, 0.5)
    main([str(tmp_path), "--csv", str(tmp_path / "results.csv")])
    assert (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines() == [
        "arm,seed,before,after,kl,images,judge_calls",
        '"t2i_rpo, judge=random",2,0.3,0.5,12.34,320,640',
        "t2i_rpo,1,0.25,0.5,12.34,320,640",
    ]
    assert "| t2i_rpo | 1 |" in capsys.readouterr().out


def test_equal_changes_have_no_width() -> None:
    assert interval([0.1, 0.1]) == "+0.100 in each"


def test_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert f"no summary.json below {tmp_path}" in capsys.readouterr().err
