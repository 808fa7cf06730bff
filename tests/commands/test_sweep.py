"""What a sweep says of itself in the end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.sweep import JOURNAL, SESSION, SweepReport


def write(sweep: Path, run: str, what: str, session: str) -> None:
    with (sweep / JOURNAL).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": "", "run": run, "what": what, "why": "", "session": session}) + "\n")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DictConfig:
    monkeypatch.setenv(SESSION, "")  # and as it was after the test
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})


def test_what_happens_in_another_terminal_is_not_told(
    tmp_path: Path, config: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "a", "failed", "earlier")
    report = SweepReport()
    report.on_multirun_start(config)
    own = os.environ[SESSION]
    for run, what in (("b", "started"), ("b", "finished"), ("c", "left")):
        write(tmp_path, run, what, own)
    for run, what in (("c", "started"), ("d", "failed")):
        write(tmp_path, run, what, "another terminal")
    report.on_multirun_end(config)  # raises nothing: exit code 0
    said = capsys.readouterr().out
    assert "2 runs: 0 skipped, 0 resumed, 1 started; 1 finished, 1 left to another process" in said
    assert "  left: c: another process was at work in it" in said
    assert "failed" not in said


def test_a_worker_that_does_not_know_its_session_counts(tmp_path: Path, config: DictConfig) -> None:
    report = SweepReport()
    report.on_multirun_start(config)
    write(tmp_path, "a", "failed", "")
    with pytest.raises(SystemExit) as end:
        report.on_multirun_end(config)
    assert end.value.code == 1
