"""That a training step has not become grossly slower than its compute; `make bench` says how it really stands."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[1] / "benchmarks"


def loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("steps_per_update", ["1", "all"])
def test_an_update_takes_less_than_twice_its_compute(steps_per_update: str) -> None:
    overhead = loaded("overhead")
    ours, bare = overhead.measure(3, 8, steps_per_update, ["trainer.accelerator=cpu"])
    assert len(ours) == len(bare) == 3
    found = overhead.row(ours, bare, "whole")
    assert found["ratio"] < 2, found


def test_a_ratio_is_that_of_neighbours() -> None:
    overhead = loaded("overhead")
    seconds = overhead.Seconds
    row = overhead.row([seconds(0, 0, 2), seconds(0, 0, 9), seconds(0, 0, 4)], [seconds(0, 0, s) for s in (1, 3, 4)], "whole")
    assert row == {"ours": 4, "bare": 3, "ratio": 2, "least": 1, "most": 3}
