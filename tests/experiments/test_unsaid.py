"""The tables of experiments/unsaid, from run folders and verdicts made by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.evaluation.bench_rows import Judged, append
from arr_rpo.types import Cost, Outcome, Verdict
from experiments.unsaid.agreed import COLUMNS, agreement, by_annotator, keep, needed, once, orders, read
from experiments.unsaid.agreement import after
from experiments.unsaid.learned import Learned, arms, arms_table, differences
from experiments.unsaid.learned import keep as keep_points
from experiments.unsaid.learned import read as read_points

Course = Sequence[tuple[float, float, float]]  # judge calls, KL and taste by measurement
STEADY: Course = ((0, 0, 0.25), (100, 4, 0.75))


def run(
    place: Path, arm: str, annotator: str, seed: int, taste: float, course: Course = STEADY, rule: str = "DiffusionNFT"
) -> None:
    folder = place / f"arm={arm},annotator={annotator},seed={seed}"
    folder.mkdir(parents=True)
    config = f"study: {{arm: '{arm}', annotator: {annotator}}}\nseed: {seed}\nname: t2i_rpo"
    config += f"\nalgorithm: {{objective: {{_target_: some.where.{rule}}}}}"
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    some = {name: {"before": 0.25, "after": 0.5} for name in ("followed", "strict")}
    figures = {**some, "taste": {"before": 0.25, "after": taste}}
    measures = {"annotator": {"before": 0.25, "after": taste, "figures": figures}}
    summary = {"kl": course[-1][1] + 1, "images": 64, "judge": {"calls": course[-1][0]}, "measures": measures}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "state.json").write_text(json.dumps({"state": "finished"}), encoding="utf-8")
    rows = [
        {"update": t, "images": 32 * t, "judge_calls": calls, "seconds": 0.0, "kl": kl, "measures": {
            "annotator": {"value": value, "figures": {"taste": value, "followed": 0.5, "strict": 0.5}, "by_prompt": {}},
        }}
        for t, (calls, kl, value) in enumerate(course)
    ]  # fmt: skip
    (folder / "progress.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


def test_what_was_learned_is_a_mean_of_annotators(tmp_path: Path) -> None:
    for annotator, tastes in (("kim", (0.25, 0.75)), ("leo", (1.0, 1.0))):
        for seed, taste in enumerate(tastes):
            run(tmp_path, "weighted, 16 pairs", annotator, seed, taste)
            run(tmp_path, "prompt_alone", annotator, seed, 0.25)
    found = arms(read_points(tmp_path))
    assert {key: one.after.taste for key, one in found["weighted, 16 pairs"].items()} == {
        ("kim", 0): 0.25,
        ("kim", 1): 0.75,
        ("leo", 0): 1.0,
        ("leo", 1): 1.0,
    }
    rows = arms_table(found).splitlines()
    assert rows[2] == "| before training | 4 | 0.250 | 0.250 | 0.250 | 0.250 | 0 | 0 |"
    [weighted] = [row for row in rows if row.startswith("| weighted")]
    assert "| 4 | 0.750 (-2.427 to 3.927) |" in weighted  # 0.75 and 12.706 times a standard error of 0.25
    [row] = differences(found, "prompt_alone", "images").splitlines()[2:]
    assert row.startswith("| weighted, 16 pairs | 4 | +0.500 (-2.677 to +3.677) | 0.295 |")  # t = 2, one degree: 0.295


def test_arms_are_compared_where_both_have_been(tmp_path: Path) -> None:
    """The same way, of which one went on further, is no difference at matched KL, and half the calls are half of one leg."""
    for who in ("kim", "leo"):
        run(tmp_path, "prompt_alone", who, 1, 0.5, ((0, 0, 0.25), (100, 4, 0.5)))
        run(tmp_path, "far", who, 1, 1.0, ((0, 0, 0.25), (200, 4, 0.5), (400, 8, 1.0)))
        run(tmp_path, "no calls", who, 1, 1.0, ((0, 0, 0.25), (0, 4, 1.0)))
    found = arms(read_points(tmp_path))
    far, other = differences(found, "prompt_alone", "kl").splitlines()[2:]
    assert far.startswith("| far | 2 | +0.000 (+0.000 to +0.000) |")
    assert other.startswith("| no calls | 2 | +0.500 ")
    [far] = differences(found, "prompt_alone", "judge_calls").splitlines()[2:]  # one that asks no judge is in none
    assert far.startswith("| far | 2 | -0.125 ")
    [one] = [some for key, some in found["far"].items() if key == ("kim", 1)]
    with pytest.raises(ValueError, match="never has 9 of kl, only 8"):
        one.at("kl", 9)


def test_what_was_kept_says_what_the_runs_say(tmp_path: Path) -> None:
    run(tmp_path / "runs", "prompt_alone", "kim", 1, 0.5)
    run(tmp_path / "runs", "weighted, 16 pairs", "kim", 1, 0.75)
    run(tmp_path / "rpo", "weighted, 16 pairs", "kim", 1, 0.6, rule="PolicyGradient")
    both = [point for place in ("runs", "rpo") for point in read_points(tmp_path / place)]
    found = arms(both)
    assert sorted(found) == ["prompt_alone", "weighted, 16 pairs", "weighted, 16 pairs (PolicyGradient)"]
    keep_points(both, tmp_path / "kept.csv")
    assert arms(read_points(tmp_path / "kept.csv")) == found
    assert isinstance(found["prompt_alone"]["kim", 1], Learned)


def test_cells_that_were_kept_are_read_again_and_each_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "cells" / "kim" / "global,pairs=4,noise=0,seed=1"
    folder.mkdir(parents=True)
    named = {"annotator": "kim", "source": "global", "pairs": 4, "noise": 0.0, "seed": 1}
    (folder / "agreement.json").write_text(json.dumps({**named, "nothing": "no draft verified"}), encoding="utf-8")
    rows = [*read(tmp_path / "cells")]
    assert rows == [{**named, "nothing": True, **dict.fromkeys(COLUMNS[:4], 0.5), **dict.fromkeys(COLUMNS[4:], 0.0)}]
    rows += [{**rows[0], "source": "pairwise", "nothing": False, "coverage": None, "agreement": 0.123456789}]
    keep(rows, tmp_path / "kept.csv")
    again = [*read(tmp_path / "kept.csv")]
    assert again == [rows[0], {**rows[1], "agreement": 0.123457}]
    newer = {**again[0], "agreement": 0.75}
    assert once([*again, newer]) == [newer, again[1]]


def test_another_annotator_is_of_the_same_group() -> None:
    assert [after(name) for name in ("ada", "jo", "mia", "tea")] == ["ben", "ada", "nils", "kim"]


def test_a_pair_that_is_called_equal_counts_half(tmp_path: Path) -> None:
    said = [
        ("A", "A", "taste"),
        ("A", "B", "taste"),
        ("B", "tie", "prompt"),
        ("B", "inconsistent", "prompt"),
        ("B", "B", "both"),
    ]
    path, named = tmp_path / "judged_pairs.jsonl", enumerate(said)
    rows = [
        Judged(str(n), str(n), subset, Outcome(better), Verdict(Outcome(outcome), 0.5), (), 0.1, Cost())
        for n, (better, outcome, subset) in named
    ]
    failed = dataclasses.replace(rows[0], verdict=Verdict(Outcome.FAILED, None))  # and judged again: the last counts
    append(path, [failed, *rows])
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
