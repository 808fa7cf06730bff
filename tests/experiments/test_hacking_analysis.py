"""The rules by which an arm is gamed, on curves made by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from arr_rpo.report.read_study import read_study
from experiments.hacking.analyse import (
    Course,
    arms_table,
    claims_table,
    compared,
    courses,
    exploited,
    fall,
    is_gamed,
    mean_curve,
    onset,
)

PROMPTS = 60


def made(gold: Sequence[float], proxy: Sequence[float], who: str = "ada", noise: float = 0.1, seed: int = 0) -> Course:
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, noise, (1, PROMPTS))
    fresh = rng.normal(0, noise / 4, (len(gold), PROMPTS))
    won = (np.arange(PROMPTS) / PROMPTS < np.array(proxy)[:, None]).astype(float)
    won[0] = 0.5
    return Course(who, np.arange(len(gold), dtype=float), np.array(gold)[:, None] + drift + fresh, won)


def arm(gold: Sequence[float], proxy: Sequence[float], annotators: int = 8) -> list[Course]:
    return [made(gold, proxy, f"annotator {i}", seed=i) for i in range(annotators)]


RISES = [0.5, 0.6, 0.65, 0.7, 0.75]
TURNS = [0.5, 0.6, 0.7, 0.6, 0.5]


def test_gold_that_falls_while_the_proxy_rises_is_gamed() -> None:
    falls, best = fall(arm(TURNS, RISES))
    assert best == 2
    assert falls[0] == pytest.approx(-0.2, abs=0.02)
    assert np.quantile(falls[1:], 0.975) < -0.15
    assert is_gamed(arm(TURNS, RISES))
    assert not is_gamed(arm(RISES, RISES))
    assert not is_gamed(arm(TURNS, [0.5, 0.6, 0.8, 0.7, 0.6]))  # the policy got worse at both


def test_a_lucky_best_is_no_fall() -> None:
    """Of curves that do not move, 200 measurements in noise: their greatest minus their last is 0.05 on the same prompts."""
    rng = np.random.default_rng(1)
    flat = [Course(str(i), np.arange(200.0), rng.normal(0.5, 0.4, (200, PROMPTS)), np.ones((200, PROMPTS))) for i in range(8)]
    curve = mean_curve(flat, lambda some: some.gold_TP)
    assert curve.max() - curve.mean() > 0.04
    falls, _ = fall(flat)
    assert np.quantile(falls[1:], 0.025) < 0 < np.quantile(falls[1:], 0.975)
    assert not is_gamed(flat)


def test_onset_takes_two_in_a_row() -> None:
    assert onset(arm(TURNS, RISES)) == 2
    assert onset(arm([0.5, 0.6, 0.5, 0.7, 0.8], RISES)) is None


def test_exploited_are_those_that_win_and_are_worth_less() -> None:
    gold = np.array([[0.5, 0.5, 0.5, 0.5], [0.4, 0.6, 0.4, 0.6]])
    proxy = np.array([[0.5, 0.5, 0.5, 0.5], [1.0, 1.0, 1.0, 0.0]])  # three win, two of which are worth less
    one = Course("ada", np.array([0.0, 2.0]), gold, proxy)
    assert exploited([one])[0] == pytest.approx(2 / 3)
    assert one.at(1.0, one.accepted) == pytest.approx([0.5, 0.5, 0.5, 0])
    assert one.at(9.0, gold) == pytest.approx(gold[-1])
    assert one.at(0.0, gold) == pytest.approx(gold[0])


def test_arms_are_compared_at_the_lesser_kl_of_each_annotator() -> None:
    """They are the same course, of which one went on to where all is exploited."""
    gold, proxy = [0.5, 0.6, 0.1], [0.5, 0.6, 0.6]
    far = [made(gold, proxy, str(i), seed=i) for i in range(4)]
    near = [Course(c.annotator, c.root_kl_T[:2], c.gold_TP[:2], c.proxy_TP[:2]) for c in far]
    assert exploited(far)[0] > exploited(near)[0] + 0.5
    assert compared(far, near) == pytest.approx(0)


def test_tables() -> None:
    arms = {"prompt_alone": arm(TURNS, RISES), "conjunctive": arm(RISES, RISES), "oracle": []}
    lines = arms_table(arms).splitlines()
    assert lines[2].startswith("| prompt_alone | 8 | 4.0 | 0.495 | 0.696 (at 2)")
    assert lines[2].endswith("| 2 | yes |")
    assert lines[3].endswith("| no |")
    claims = claims_table(arms).splitlines()
    assert len(claims) == 4
    assert claims[2].startswith("| conjunctive has a lower share")
    assert claims[2].endswith("| shown |")
    assert claims[3].endswith("| shown |")


def write_run(place: Path, arm: str, annotator: str, gold: Sequence[float]) -> None:
    folder = place / f"arm={arm},annotator={annotator},seed=1"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        f"name: t2i_rpo\nstudy: {{arm: '{arm}', annotator: {annotator}}}\nseed: 1", encoding="utf-8"
    )
    (folder / "summary.json").write_text(json.dumps({"kl": 4.0, "measures": {"annotator": {"before": 0.5, "after": 0.5}}}))
    (folder / "state.json").write_text(json.dumps({"state": "finished"}))
    rows = [
        {"update": 10 * t, "images": 0, "judge_calls": 0, "seconds": 0.0, "kl": float(t * t), "measures": {
            "annotator": {"value": g, "by_prompt": {"p/1": g, "p/2": g}},
            "win_rate": {"value": 0.5, "by_prompt": {"p/1": 1.0, "p/2": 0.5}},
        }}
        for t, g in enumerate(gold)
    ]  # fmt: skip
    (folder / "progress.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


def test_an_arm_has_the_runs_of_all_annotators(tmp_path: Path) -> None:
    """Their folders, and so the names that a report gives them, have the annotator in them."""
    for who, last in (("mia", 0.4), ("nils", 0.6)):
        write_run(tmp_path, "own_weighted, 64 pairs", who, (0.5, last))
        write_run(tmp_path, "annotator", who, (0.5, 0.9))
    found = courses(read_study(tmp_path))
    assert {name: [one.annotator for one in arm] for name, arm in found.items()} == {
        "own_weighted": ["mia", "nils"],
        "annotator": ["mia", "nils"],
    }
    mia = found["own_weighted"][0]
    assert mia.root_kl_T.tolist() == [0.0, 1.0]
    assert mia.gold_TP.tolist() == [[0.5, 0.5], [0.4, 0.4]]
    assert exploited(found["own_weighted"])[0] == pytest.approx(0.5)  # of two that win one is worth less


def test_what_got_worse_at_both_is_not_gamed() -> None:
    row = claims_table({"prompt_alone": arm(TURNS, [0.5, 0.6, 0.8, 0.7, 0.6])}).splitlines()[2]
    assert row.endswith("| not shown: the proxy fell too |")
