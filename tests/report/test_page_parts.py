"""Curves, grids, verdicts, pictures and drawings of a page, by hand."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from arr_rpo.report import svg
from arr_rpo.report.curves import band, curves, series, thin
from arr_rpo.report.pictures import Album, grids
from arr_rpo.report.verdicts import agreement, relation, sample
from tests.report import made


def decoded(picture: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture["src"].split(",")[1])))


def noise(side: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def test_small_pictures_are_kept_to_the_pixel_and_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        noise(32).save(tmp_path / name)
    album = Album(192, 1e6)
    assert [album.add(tmp_path / name) for name in ("a.png", "b.png")] == [0, 0]
    (kept,) = album.encoded()
    assert np.array_equal(np.asarray(decoded(kept).convert("RGB")), np.asarray(noise(32)))


def test_large_pictures_are_scaled_and_broken_ones_are_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (512, 256), "red").save(tmp_path / "large.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "large.png").read_bytes()[:40])
    album = Album(192, 1e6)
    assert album.add(tmp_path / "large.png") == 0
    (kept,) = album.encoded()
    assert (kept["width"], kept["height"]) == decoded(kept).size == (192, 96)
    assert album.add(tmp_path / "cut.png") is None
    assert album.add(tmp_path / "gone.png") is None


@pytest.mark.parametrize(("budget", "sides"), [(1e6, {192}), (100_000, {192, 144, 96, 72}), (1, {48})])
def test_pictures_shrink_until_they_fit(tmp_path: Path, budget: float, sides: set[int]) -> None:
    album = Album(192, budget)
    for seed in range(8):
        noise(256, seed).save(tmp_path / f"{seed}.png")
        album.add(tmp_path / f"{seed}.png")
    kept = album.encoded()
    assert {picture["width"] for picture in kept} <= sides
    assert sum(len(str(picture["src"])) for picture in kept) <= max(budget, 50_000)


def test_thinning_takes_means_of_neighbours() -> None:
    assert thin(np.arange(6.0), 3).tolist() == [0.5, 2.5, 4.5]
    assert thin(np.arange(3.0), 3).tolist() == [0, 1, 2]


def test_a_band_is_drawn_where_all_runs_are_known() -> None:
    one = np.array([0.0, 10.0, 20.0]), np.array([0.0, 1.0, 2.0])
    other = np.array([5.0, 15.0]), np.array([3.0, 1.0])
    assert band([one, other], 20) == {"x": [5, 10, 15], "mean": [1.75, 1.5, 1.25], "low": [0.5, 1, 1], "high": [3, 2, 1.5]}
    assert band([one, (np.array([30.0]), np.array([1.0]))], 20) is None
    assert band([], 20) is None


def test_a_run_without_measurements_shows_its_two_ends(tmp_path: Path) -> None:
    run = replace(made.study(tmp_path).runs[0], progress=())
    found = series(run, "measured/shapes")
    assert found is not None
    assert {axis: values.tolist() for axis, values in found.x.items()} == {
        "updates": [0, 30],
        "images": [0, 3840],
        "judge_calls": [0, 9000],
    }
    assert found.y.tolist() == [0.4, pytest.approx(0.71)]
    assert series(made.unfinished(run), "measured/shapes") is None


def test_an_axis_that_is_unknown_is_left_out(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    study = replace(
        study,
        runs=tuple(replace(run, progress=tuple(replace(p, judge_calls=None) for p in run.progress)) for run in study.runs),
    )
    line = curves(study, 20, 4)["lines"]["measured/shapes"][0]
    assert set(line["bands"]) == set(line["runs"][0]["x"]) == {"updates", "images"}


def test_a_run_that_diverged_is_drawn_without_its_nan(tmp_path: Path) -> None:
    run = made.made_run(tmp_path, "rubric", 0, 1, 4)
    name = next(iter(run.curves))
    curve = run.curves[name]
    broken = replace(curve, values=(*curve.values[:-2], float("nan"), float("inf")))
    found = series(replace(run, curves={name: broken}), name)
    assert found is not None
    assert found.y.tolist() == list(curve.values[:-2])
    assert found.x["updates"].tolist() == list(curve.updates[:-2])
    nothing = replace(curve, values=(float("nan"),) * len(curve.values))
    assert series(replace(run, curves={name: nothing}), name) is None


def test_an_unfinished_run_has_its_own_line_and_no_part_in_the_mean(tmp_path: Path) -> None:
    line = curves(made.study(tmp_path), 20, 4)["lines"]["measured/shapes"][1]
    assert [(run["run"], run["short"]) for run in line["runs"]] == [("seed 1", "1"), ("seed 2", "2")]
    assert line["bands"]["updates"]["mean"] == line["runs"][0]["y"]  # of seed 1 alone


def test_criteria_that_most_runs_have_come_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    rare = {**study.runs[0].curves, "criterion/zebra": study.runs[0].curves["criterion/color"]}
    study = replace(study, runs=(replace(study.runs[0], curves=rare), *study.runs[1:]))
    keys = [metric["key"] for metric in curves(study, 20, 2)["metrics"]]
    assert [key for key in keys if key.startswith("criterion/")] == ["criterion/color", "criterion/position"]


def test_each_reason_for_which_a_judge_failed_has_a_curve(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    failing = {**study.runs[0].curves, "judge/failed/refusal": study.runs[0].curves["criterion/color"]}
    study = replace(study, runs=(replace(study.runs[0], curves=failing), *study.runs[1:]))
    labels = {metric["key"]: metric["label"] for metric in curves(study, 20, 2)["metrics"]}
    assert labels["judge/failed/refusal"] == "judge failures: refusal"


def test_of_two_runs_of_an_arm_and_a_seed_a_grid_shows_the_one_that_ended(tmp_path: Path) -> None:
    study = made.study(tmp_path, arms=("rubric",), seeds=(1, 2))
    ended, killed = study.runs
    again = replace(killed, seed=1)
    for runs in ((ended, again), (again, ended)):
        (grid,) = grids(replace(study, runs=runs), Album(192, 1e6), 4, 2)
        assert all(row["cells"][1] for row in grid["rows"])


def test_a_grid_shows_base_and_arms_of_one_seed(tmp_path: Path) -> None:
    album = Album(192, 1e6)
    first, second = grids(made.study(tmp_path), album, 4, 2)
    assert (first["title"], first["columns"]) == ("seed 1", ["base", "rubric", "scalar"])
    assert [row["prompt"] for row in first["rows"]] == [made.HOSTILE, *(f"a photo of {i} circles" for i in (2, 3, 5))]
    kept = album.encoded()
    colours = [decoded(kept[cell["picture"]]).convert("RGB").getpixel((0, 0)) for cell in first["rows"][1]["cells"]]
    assert colours == [(200, 60, 10), (60, 200, 0), (60, 200, 40)]
    assert [cell["met"] for cell in first["rows"][1]["cells"]] == [False, True, True]
    assert second["rows"][0]["cells"][2] is None  # the run that did not end


@pytest.mark.parametrize(
    ("outcome", "oracle", "expected"),
    [
        ("A", "A", "agree"),
        ("tie", "tie", "agree"),
        ("A", "B", "opposite"),
        ("tie", "B", "judge_undecided"),
        ("inconsistent", "A", "judge_undecided"),
        ("B", "tie", "oracle_undecided"),
        ("inconsistent", "tie", "neither"),
        ("failed", "A", "unknown"),
        (None, None, "unknown"),
    ],
)
def test_how_a_verdict_stands_to_the_oracle(outcome: str | None, oracle: str | None, expected: str) -> None:
    assert relation(outcome, {"outcome": oracle}) == expected
    assert relation(outcome, None) == "unknown"


def test_the_sample_is_spread_over_runs_and_updates(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    shown, every = sample(study, Album(192, 1e6), 8, [])
    assert every == 4 * 2 * 5
    assert [(v["arm"], v["run"], v["update"]) for v in shown] == [
        (a, f"seed {s}", u) for a in (0, 1) for s in (1, 2) for u in (0, 29)
    ]
    everything, _ = sample(study, Album(192, 1e6), 1000, [])
    assert len(everything) == every
    rows = agreement(everything, study).rows
    assert [cell.text for cell in rows[0]] == ["rubric", "20", "16", "4", "4", "8", "4"]


def test_a_sample_of_another_version_is_left_out_and_named(tmp_path: Path) -> None:
    study, missing = made.study(tmp_path), list[str]()
    path = study.runs[0].verdict_pictures[0]
    content = json.loads(path.read_text(encoding="utf-8"))
    whole = sample(study, Album(192, 1e6), 600, [])[1]
    del content["pairs"][0]["checks"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert sample(study, Album(192, 1e6), 600, missing)[1] == whole - 1
    path.write_text(json.dumps({"pairs": content["pairs"]}), encoding="utf-8")
    assert sample(study, Album(192, 1e6), 600, missing)[1] == whole - len(content["pairs"])
    assert len(missing) == 2
    assert f"1 pairs of {path.name}" in missing[0]


def test_a_broken_sample_is_left_out(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    folder = study.runs[0].verdict_pictures[0].parent
    (folder / "update_00000.json").write_text('{"update": 0, "pa', encoding="utf-8")
    (folder / "update_00029_0_a.png").unlink()
    missing: list[str] = []
    shown, _ = sample(study, Album(192, 1e6), 1000, missing)
    assert len(missing) == 1
    assert missing[0].startswith("update_00000.json cannot be read")
    assert len([v for v in shown if (v["arm"], v["run"]) == (0, "seed 1")]) == 4


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.11, 0.32, [-0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4]),
        (0, 10240, [0, 2500, 5000, 7500, 10000, 12500]),
        (0.5, 0.5, [0.4, 0.6]),
    ],
)
def test_ticks_are_round_and_cover_the_range(low: float, high: float, expected: list[float]) -> None:
    found = svg.ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    if low < high:
        assert found == pytest.approx(expected)


def test_an_interval_stands_at_its_place_on_the_shared_scale() -> None:
    text = svg.bar((0.1, 0.2, 0.3), (0.0, 1.0), width=108)
    assert 'cx="24.0"' in text  # 4 + 0.2 * 100
    assert 'x1="14.0" x2="34.0"' in text
    assert 'x1="4.0" x2="4.0"' in text  # zero
