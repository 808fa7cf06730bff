"""Benches side by side: figures as they stand in their files, differences on the pairs that two benches share."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from arr_rpo.commands.report import report
from arr_rpo.evaluation.bench_rows import Judged, append, file_of, read
from arr_rpo.evaluation.benches import COLUMNS, arms, minus
from arr_rpo.evaluation.bootstrap import Resampling
from arr_rpo.types import Cost, Outcome, UserError, Verdict
from tests.report.made import report_config

HOW = Resampling(draws=1000, confidence=0.95, unit="prompt", seed=0)


def judged(name: str, better: Outcome, outcome: Outcome) -> Judged:
    return Judged(name, name, "", better, Verdict(outcome, 0.5, (0.5, 0.5), cost=Cost(2, 10)), (), 0.1, Cost())


def bench(folder: Path, outcomes: str) -> None:
    """Pairs 0, 1, ... whose label is A, with the outcomes spelled A, B, t (tie)."""
    folder.mkdir(parents=True)
    named = {"A": Outcome.A, "B": Outcome.B, "t": Outcome.TIE}
    append(file_of(folder), [judged(str(i), Outcome.A, named[o]) for i, o in enumerate(outcomes)])
    figure = {"value": outcomes.count("A") / len(outcomes), "low": 0.1, "high": 0.9, "of": len(outcomes)}
    names = [*COLUMNS, "tokens"]
    overall = dict.fromkeys(names, figure) | {"calls": {**figure, "value": 4.0}}
    (folder / "bench.json").write_text(json.dumps({"overall": overall}))


def test_arms_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench(tmp_path / "judge=shapes,reward=rubric", "AAtB")
    bench(tmp_path / "judge=shapes,reward=scalar", "AAAB")
    assert report(report_config(f"study='{tmp_path}'", "reference='reward=rubric'")) == tmp_path / "benches.md"
    out = capsys.readouterr().out
    assert "| reward=rubric | 4 | 0.500 (0.100 to 0.900) |" in out
    assert out.count("| 12.5 (2.5 to 22.5) |") == 1  # half right at four calls each
    assert out.count("| 18.8 (2.5 to 22.5) |") == 1
    assert "| reward=scalar | 4 | +0.250 |" in out  # one more of four
    rows = list(csv.DictReader((tmp_path / "benches.csv").open()))
    assert {(r["arm"], r["value"]) for r in rows if r["figure"] == "accuracy"} == {
        ("reward=rubric", "0.5"),
        ("reward=scalar", "0.75"),
    }


def test_differences_are_over_shared_pairs_with_a_label(tmp_path: Path) -> None:
    """Two benches share pairs 0 to 2; a label that is a tie has no right side."""
    bench(tmp_path / "x", "AAB")
    bench(tmp_path / "y", "AtAAA")
    first, second = (read(file_of(tmp_path / name)) for name in "xy")
    difference = minus(first, second, HOW)
    assert difference.of == 3
    assert difference.value == pytest.approx((0 + 1 - 1) / 3)
    first["0"] = judged("0", Outcome.TIE, Outcome.TIE)
    assert minus(first, second, HOW).of == 2


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run and no finished bench"):
        report(report_config(f"study='{tmp_path}'"))
    bench(tmp_path / "one" / "reward=rubric", "A")
    bench(tmp_path / "two" / "reward=rubric", "A")
    with pytest.raises(UserError, match="both called"):
        arms([tmp_path])
    with pytest.raises(UserError, match="no such arm; there are 'reward=rubric'"):
        report(report_config(f"study='{tmp_path / 'one'}'", "reference='reward=nothing'"))
