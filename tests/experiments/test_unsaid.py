"""The tables of experiments/unsaid, from run folders and verdicts made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.unsaid.agreed import agreement, by_annotator, needed, orders
from experiments.unsaid.learned import arms, differences, table


def run(place: Path, arm: str, annotator: str, seed: int, taste: float) -> None:
    folder = place / f"{arm},{annotator},{seed}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"study: {{arm: '{arm}', annotator: {annotator}}}", encoding="utf-8")
    some = {name: {"before": 0.25, "after": 0.5} for name in ("followed", "strict")}
    figures = {**some, "taste": {"before": 0.25, "after": taste}}
    summary = {"kl": 4.0, "measures": {"annotator": {"before": 0.25, "after": taste, "figures": figures}}}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def test_what_was_learned_is_a_mean_of_annotators(tmp_path: Path) -> None:
    for annotator, tastes in (("kim", (0.25, 0.75)), ("leo", (1.0, 1.0))):
        for seed, taste in enumerate(tastes):
            run(tmp_path, "weighted, 16 pairs", annotator, seed, taste)
        run(tmp_path, "prompt_alone", annotator, 0, 0.25)
    found = arms(tmp_path)
    assert {who: one["taste"] for who, one in found["weighted, 16 pairs"].items()} == {"kim": 0.5, "leo": 1.0}
    rows = table(found).splitlines()
    assert rows[2] == "| before training | 2 | 0.250 | 0.250 | 0.250 | 0.250 | 0 |"
    [weighted] = [row for row in rows if row.startswith("| weighted")]
    assert "| 2 | 0.750 (-2.427 to 3.927) |" in weighted  # 0.75 and 12.706 times a standard error of 0.25
    [row] = differences(found, "prompt_alone").splitlines()[2:]
    assert row.startswith("| weighted, 16 pairs | +0.500 (-2.677 to +3.677) | 0.295 |")  # t = 2, one degree: 0.295


def test_a_pair_that_is_called_equal_counts_half(tmp_path: Path) -> None:
    said = [
        ("A", "A", "taste"),
        ("A", "B", "taste"),
        ("B", "tie", "prompt"),
        ("B", "inconsistent", "prompt"),
        ("B", "B", "both"),
    ]
    rows = [{"better": better, "outcome": outcome, "subset": subset} for better, outcome, subset in said]
    path = tmp_path / "judged_pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = agreement(path, nothing=False)
    assert found == {"agreement": pytest.approx(0.6), "prompt alone": 0.5, "taste alone": 0.5, "both": 1.0}
    assert set(agreement(tmp_path / "none.jsonl", nothing=True).values()) == {0.5}


def test_an_annotator_counts_once() -> None:
    rows = [{"annotator": who, "x": value} for who, value in (("kim", 0.0), ("kim", 1.0), ("leo", 1.0), ("mia", None))]
    assert by_annotator(rows, "x") == {"kim": 0.5, "leo": 1.0}


def cells(source: str, pairs: int, *values: float, noise: float = 0.0) -> list[dict[str, Any]]:
    """One an annotator."""
    common = {"source": source, "pairs": pairs, "noise": noise}
    return [{**common, "annotator": f"a{i}", "agreement": value, "taste alone": value} for i, value in enumerate(values)]


def test_an_order_is_shown_not_shown_or_reversed() -> None:
    rows = cells("pairwise", 0, 0.5, 0.51, 0.52, 0.5) + cells("reward_model", 16, 0.99, 1.0, 1.0, 0.99)
    rows += cells("own_weighted_listed", 16, 0.8, 0.82, 0.81, 0.8) + cells("own_weighted_listed", 16, 0, 0, 0, 0, noise=0.3)
    rows += cells("exemplars", 16, 0.5, 1.0, 0.6, 1.0)
    lines = [line for line in orders(rows).splitlines() if "| agreement |" in line]
    assert [line.split("| ")[-1].strip(" |") for line in lines] == ["shown", "reversed", "not shown"]
    assert lines[0].startswith("| rubric over none: own_weighted_listed > pairwise | 16 | agreement | +0.30 (")


def test_pairs_that_are_needed_are_read_between_those_that_were_tried() -> None:
    rows = cells("prompt_rubric", 0, 0.5, 0.5) + cells("global", 4, 0.5, 0.5)
    for pairs, share in ((4, 0.2), (16, 0.6), (64, 1.0)):
        rows += cells("own_weighted_listed", pairs, *[0.5 + share / 2] * 2)
    lines = needed(rows, "agreement").splitlines()
    assert "| global | more than 4 | 4: +0.00 |" in lines
    assert "| own_weighted_listed | 32 | 4: +0.20, 16: +0.60, 64: +1.00 |" in lines  # half of the doublings from 16 to 64
