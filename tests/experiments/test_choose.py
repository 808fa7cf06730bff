"""The choice of a learning rate for each rule, from a report's table made by hand."""

from __future__ import annotations

import csv
import io

import pytest

from experiments.algorithms.choose import Cell, cells, commands, table

RESULTS = """arm,seed,measure,before,after,kl,images,judge_calls
"rpo, lr=0.001",11,shapes,0.25,0.75,80.0,5120,2560
"rpo, lr=0.0001",11,shapes,0.25,0.375,1.0,5120,2560
"rpo, lr=0.0001",12,shapes,0.25,0.375,3.0,5120,2560
"rpo, lr=0.0003",12,shapes,0.25,0.5,5.0,5120,2560
"rpo, lr=0.0003",11,shapes,0.25,0.75,7.0,5120,2560
"grpo, lr=0.0003",11,shapes,0.25,0.5,5.0,5120,2560
"grpo, lr=0.001",11,shapes,0.25,0.75,5.0,5120,2560
"grpo, lr=0.001",12,shapes,0.25,0.75,5.0,5120,2560
"""


def test_the_mean_over_seeds_decides() -> None:
    found = cells(csv.DictReader(io.StringIO(RESULTS)))
    assert found["rpo"] == [
        Cell(1e-4, (11, 12), pytest.approx(0.125), 2.0),
        Cell(3e-4, (11, 12), pytest.approx(0.375), 6.0),
        Cell(1e-3, (11,), pytest.approx(0.5), 80.0),  # of one seed, so that it does not count
    ]
    lines = table(found).splitlines()
    assert [line for line in lines if line.startswith("| rpo")][1] == "| rpo | 0.0003 | 11, 12 | +0.375 | 6.0 | **chosen** |"


def test_what_may_be_no_choice_is_said() -> None:
    chosen = [line for line in table(cells(csv.DictReader(io.StringIO(RESULTS)))).splitlines() if "chosen" in line]
    assert "seeds are missing" in chosen[0]
    assert "edge of the grid" in chosen[0]
    assert "missing" not in chosen[1]
    assert "edge" not in chosen[1]


def test_the_two_best_of_the_first_seed_are_tried_on_the_second() -> None:
    first = [row for row in csv.DictReader(io.StringIO(RESULTS)) if row["seed"] == "11"]
    assert commands(cells(first)).splitlines() == [
        f"python train.py study=algorithm_tuning arm={rule} module.optimizer.lr=0.0003,0.001 seed=12 num_threads=1"
        for rule in ("grpo", "rpo")
    ]
    assert "missing" in table(cells(first))
