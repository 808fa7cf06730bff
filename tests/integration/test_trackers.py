"""A run that goes on is the same run in a tracker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.small import start
from tests.stops import stop_before

pytestmark = pytest.mark.slow


def test_mlflow_knows_a_run_again(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    with pytest.raises(SystemExit):
        start(tmp_path / "run", "logger=mlflow", stop_before(2))
    known = json.loads((tmp_path / "run" / "trackers.json").read_text(encoding="utf-8"))
    start(tmp_path / "run", "logger=mlflow", f"resume={tmp_path / 'run'}")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/run/mlflow.db")
    found = [run for one in client.search_experiments() for run in client.search_runs([one.experiment_id])]
    assert [run.info.run_id for run in found] == [known["mlflow"]]
    assert {point.step for point in client.get_metric_history(known["mlflow"], "reward/mean")} == {0, 1, 2, 3}
