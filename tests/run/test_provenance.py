"""What a run says of the code and the command that it came from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from arr_rpo.run import provenance as module
from arr_rpo.run.provenance import command, provenance


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit, as if the package were run from it."""
    source = tmp_path / "provenance.py"
    source.write_text("", encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.setattr(module, "SOURCE", source)
    return tmp_path


def test_commit_and_changes(checkout: Path) -> None:
    found = provenance(checkout / "versions.json")
    assert (found["commit"], found["dirty"]) == (git(checkout, "rev-parse", "HEAD"), False)
    (checkout / "new.py").write_text("", encoding="utf-8")
    assert provenance(checkout / "versions.json")["dirty"] is True


def test_a_package_that_is_no_part_of_the_checkout_around_it(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual environment within a repository."""
    (checkout / "site-packages").mkdir()
    monkeypatch.setattr(module, "SOURCE", checkout / "site-packages" / "provenance.py")
    found = provenance(checkout / "versions.json")
    assert (found["commit"], found["dirty"]) == (None, None)


def test_no_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance(checkout / "versions.json")["commit"] is None


def test_a_run_that_goes_on_keeps_its_earlier_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "experiment=t2i_rpo", "seed=1,2"])
    first = provenance(tmp_path / "versions.json")
    assert first["commands"] == ["python train.py experiment=t2i_rpo seed=1,2"]
    (tmp_path / "versions.json").write_text(json.dumps(first), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["train.py", "resume=a run"])
    assert provenance(tmp_path / "versions.json")["commands"] == [*first["commands"], "python train.py 'resume=a run'"]
    (tmp_path / "versions.json").write_text("{", encoding="utf-8")
    assert provenance(tmp_path / "versions.json")["commands"] == ["python train.py 'resume=a run'"]


def test_a_command_is_told_as_it_was_typed() -> None:
    assert command(["train.py", "seed=1", "data.train=my prompts.txt"]) == "python train.py seed=1 'data.train=my prompts.txt'"
    assert command(["arr-rpo train", "seed=1"]) == "arr-rpo train seed=1"
