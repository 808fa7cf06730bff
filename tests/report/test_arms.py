"""How arms are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from arr_rpo.report.arms import Label, arm_names, label, overrides_of, seed_of


@pytest.mark.parametrize(
    ("folder", "overrides", "seed"),
    [
        ("seed=3", [], 3),
        ("judge=random,seed=3", ["judge=random"], 3),
        ("algorithm=rpo_paper,judge=random,seed=12", ["algorithm=rpo_paper", "judge=random"], 12),
        ("2026-11-24_08-00-00", [], None),
        ("seed=many", [], None),
    ],
)
def test_what_a_folder_says(folder: str, overrides: list[str], seed: int | None) -> None:
    assert overrides_of(Path("runs") / folder) == overrides
    assert seed_of(Path("runs") / folder) == seed


def test_a_config_says_more() -> None:
    folder = Path("arm=x,seed=1")
    assert label({"name": "t2i_rpo", "study": {"arm": "rubric"}}, folder) == Label("t2i_rpo", ("arm=x",), "rubric")
    assert label({}, folder) == Label("arm=x,seed=1", ("arm=x",), "")


def test_what_all_runs_share_names_no_arm() -> None:
    labels = {1: Label("t2i_rpo", ("judge=oracle", "lr=1")), 2: Label("t2i_rpo", ("judge=oracle",))}
    assert arm_names(labels) == {1: "t2i_rpo, lr=1", 2: "t2i_rpo"}
    assert arm_names({1: labels[1]}) == {1: "t2i_rpo, judge=oracle, lr=1"}  # of one run, who knows what would differ


def test_the_name_of_an_arm_stands_for_it() -> None:
    labels = {1: Label("t2i_rpo", ("arm=scalar",)), 2: Label("t2i_rpo", ("arm=a", "judge=oracle"), "rubric")}
    assert arm_names(labels) == {1: "scalar", 2: "rubric, judge=oracle"}


def test_an_arm_of_two_experiments_is_two() -> None:
    labels = {1: Label("t2i_rpo", (), "rubric"), 2: Label("edit_rpo", (), "rubric"), 3: Label("edit_rpo", (), "scalar")}
    assert arm_names(labels) == {1: "t2i_rpo, rubric", 2: "edit_rpo, rubric", 3: "edit_rpo, scalar"}


def test_commas_inside_a_value_part_nothing() -> None:
    names = [
        "policy.adapter={rank:8,alpha:8},seed=1",
        "policy.adapter={rank:8,alpha:16},seed=2",
        "arm='a,b',layers=[q,k],seed=3",
    ]
    assert [overrides_of(Path(name)) for name in names] == [
        ["policy.adapter={rank:8,alpha:8}"],
        ["policy.adapter={rank:8,alpha:16}"],
        ["arm='a,b'", "layers=[q,k]"],
    ]
    assert [seed_of(Path(name)) for name in names] == [1, 2, 3]
