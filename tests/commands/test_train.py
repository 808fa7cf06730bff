"""What is answered before anything heavy is imported, and where a run's log lies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from arr_rpo.commands.cli.errors import told
from arr_rpo.commands.train import _log_folder, run
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import State
from arr_rpo.types import UserError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "diffusers", "transformers", "pytorch_lightning", "scipy", "matplotlib")


def test_help_and_misspelt_keys_need_no_heavy_library() -> None:
    code = f"import sys, arr_rpo.commands.train; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_misspelt_key_is_named() -> None:
    command = [sys.executable, "train.py", "polcy.batch_size=4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "polcy" in done.stderr
    assert "Traceback" not in done.stderr


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


def test_a_new_run_does_not_take_the_place_of_a_finished_one(tmp_path: Path) -> None:
    held = RunFolder(tmp_path)
    held.say(State.FINISHED, 4)
    config = OmegaConf.create({"resume": None, "run_dir": str(tmp_path)})
    with pytest.raises(UserError, match=r"holds a run already, finished, .*resume="):
        run(config, lambda config: pytest.fail("it began"))
    assert held.finished()
