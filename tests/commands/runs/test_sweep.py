"""What a sweep says of itself in the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from arr_rpo.commands.runs.sweep import JOURNAL, SweepReport


def test_what_happens_in_another_terminal_is_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [("a", "failed", "earlier"), ("b", "started", "own"), ("c", "started", "other"), ("d", "started", "other")]
    events += [("c", "left", "own"), ("b", "finished", "own"), ("d", "failed", "other")]
    with (tmp_path / JOURNAL).open("w", encoding="utf-8") as file:
        for run, what, session in events:
            file.write(json.dumps({"at": "", "run": run, "what": what, "why": "", "session": session}) + "\n")
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    SweepReport("own").on_multirun_end(config)  # exit code 0
    said = capsys.readouterr().out
    assert "2 runs: 0 skipped, 0 resumed, 1 started; 1 finished, 1 left to another process" in said
    assert "  left: c: another process was at work in it" in said
    assert "failed" not in said
    with pytest.raises(SystemExit) as end:
        SweepReport("other").on_multirun_end(config)
    assert end.value.code == 1


def test_a_sweep_of_several_experiments_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    one = OmegaConf.create({"hydra": {"overrides": {"task": ["experiment=t2i_rpo", "seed=1,2"]}}})
    SweepReport("own").on_multirun_start(one)
    several = OmegaConf.create({"hydra": {"overrides": {"task": ["experiment=t2i_rpo,edit_rpo", "seed=1"]}}})
    with pytest.raises(SystemExit) as end:
        SweepReport("own").on_multirun_start(several)
    assert end.value.code == 1
    assert "a sweep is of one experiment" in capsys.readouterr().err


def test_a_torn_line_of_the_journal_hides_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a full disk leaves it; Hydra would only warn of an error here, and the sweep would end well."""
    failed = json.dumps({"at": "", "run": "a", "what": "failed", "why": "NaN", "session": "own"})
    (tmp_path / JOURNAL).write_text(f'{{"at": "", "run": "b", "wh\n{failed}\n', encoding="utf-8")
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    with pytest.raises(SystemExit):
        SweepReport("own").on_multirun_end(config)
    said = capsys.readouterr().err
    assert "1 torn lines are left out" in said and "failed: a: NaN" in said
