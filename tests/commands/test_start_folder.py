"""Where a run's log lies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from arr_rpo.commands.cli.errors import told
from arr_rpo.commands.train import _log_folder


def test_the_log_is_in_the_runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").touch()
    monkeypatch.setattr(sys, "argv", ["train.py", "seed=1"])
    assert _log_folder(None, "fresh") == "fresh"
    assert _log_folder(str(tmp_path), "fresh") == str(tmp_path)
    assert _log_folder(str(tmp_path / "no run"), "fresh") == "fresh"
    monkeypatch.setattr(sys, "argv", ["train.py", "run_dir=other", "run_dir='runs/a=b'"])
    assert _log_folder(None, "fresh") == "runs/a=b"


def test_a_name_that_no_folder_can_have_says_what_is_shorter(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error:
        (tmp_path / ("x" * 300)).exists() or (tmp_path / ("x" * 300)).mkdir()
    said = told(error.value)
    assert said is not None and said.startswith("File name too long") and "hydra.sweep.subdir='seed=${seed}'" in said
