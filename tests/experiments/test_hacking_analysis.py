"""The rules by which an arm is gamed, on courses made by hand."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from arr_rpo.types import UserError
from experiments import kept
from experiments.hacking import tables
from experiments.hacking.analyse import against, alarms_table, annotators_table, claims_table, golds_table, proxies_table
from experiments.hacking.baseline import called
from experiments.hacking.courses import Arm, Point, arms_of, halves, read
from experiments.hacking.gamed import at, below, excess, exploited, falls, fooled, gained, is_gamed, lesser, onset, shares

WHO = ("mia", "nils", "olga", "pia", "quin", "rosa", "sven", "tea")
RISES = [0.5, 0.6, 0.65, 0.7, 0.75]
TURNS = [0.5, 0.6, 0.7, 0.6, 0.5]


def made(name: str, gold: Sequence[float], proxy: Sequence[float], bad: float = 0.1, who: Sequence[str] = WHO) -> Arm:
    """Accepted are 0.5 of the prompts after the base; annotators differ a little."""
    return {
        one: [
            Point(
                arm=name,
                annotator=one,
                update=10 * t,
                root_kl=float(t),
                gold=g + 0.001 * k,
                gold_0=g + 0.001 * k,
                gold_1=g - 0.001 * k,
                taste=g / 2,
                followed=g,
                proxy=p,
                accepted=0.5 * (t > 0),
                bad=(bad + 0.002 * k) * (t > 0),
                worse=0.25 * (t > 0),
                base_accepted=0.4,
                base_bad=0.04 + 0.001 * k,
                sharpness=0.03,
                alarm=20 * k if k < 3 else -1,
            )
            for t, (g, p) in enumerate(zip(gold, proxy, strict=True))
        ]
        for k, one in enumerate(who)
    }


def test_gold_that_falls_while_the_proxy_rises_is_gamed() -> None:
    found = falls(made("a", TURNS, RISES))
    assert np.mean([*found.values()]) == pytest.approx(-0.2)
    assert is_gamed(made("a", TURNS, RISES))
    assert not is_gamed(made("a", RISES, RISES))
    assert not is_gamed(made("a", TURNS, [0.5, 0.6, 0.8, 0.7, 0.6]))  # the policy got worse at both
    assert not is_gamed(made("a", [0.5, 0.6, 0.7, 0.695, 0.692], RISES))  # less than 0.01


def test_a_mean_hides_who_is_gamed() -> None:
    arms = {
        "a": {**made("a", TURNS, RISES, who=WHO[:1]), **made("a", RISES, RISES, who=WHO[1:2])},
        "b": made("b", RISES, RISES),
    }
    mia, nils, olga = annotators_table(arms).splitlines()[2:5]
    assert mia.startswith("| mia | 0.50 to 0.50 (-0.20)") and nils.startswith("| nils | 0.50 to 0.75 (+0.00)")
    assert olga.startswith("| olga | - | 0.50 to 0.75 (+0.00)")
    assert against(arms, "b").splitlines()[-1].startswith("| a | 2 | -0.126 (")


def test_a_run_in_which_the_alarm_rang_is_told_with_what_gold_had_come_to() -> None:
    rang = {
        who: [dataclasses.replace(p, alarm=20) for p in course] for who, course in made("a", TURNS, RISES, who=WHO[:1]).items()
    }
    never = {who: [dataclasses.replace(p, alarm=-1) for p in course] for who, course in made("b", RISES, RISES).items()}
    gold = [(point.update, point.gold) for point in rang[WHO[0]]]
    until = [value for update, value in gold if update <= 20]
    [row] = alarms_table({"a": rang, "b": never}).splitlines()[2:]
    assert row == f"| a | {WHO[0]} | 20 | {max(until):.3f} | {until[-1]:.3f} | {gold[-1][1]:.3f} |"


def test_a_lucky_best_is_no_fall() -> None:
    """Of curves that do not move, 200 measurements in noise: their greatest minus their last is a fall, on one half of the
    scenes and not on the other."""
    rng = np.random.default_rng(1)
    flat = made("a", [0.5] * 200, RISES * 40)
    noisy = {
        who: [dataclasses.replace(p, gold_0=p.gold_0 + rng.normal(0, 0.05), gold_1=p.gold_1 + rng.normal(0, 0.05)) for p in c]
        for who, c in flat.items()
    }
    assert not is_gamed(noisy)
    same = {who: [dataclasses.replace(p, gold_1=p.gold_0) for p in c] for who, c in noisy.items()}
    assert np.mean([*falls(same).values()]) < np.mean([*falls(noisy).values()]) - 0.02


def test_a_share_is_pooled_and_its_spread_that_of_the_ratio() -> None:
    found = shares({"a": 0.5, "b": 0.1}, {"a": 0.1, "b": 0.05})
    assert np.mean([*found.values()]) == pytest.approx(0.15 / 0.6)
    equal = shares({"a": 0.5, "b": 0.1}, {"a": 0.05, "b": 0.01})  # the same share: no spread
    assert [*equal.values()] == pytest.approx([0.1, 0.1])
    assert all(math.isnan(value) for value in shares({"a": 0.0}, {"a": 0.0}).values())


def test_what_accuracy_alone_makes_is_taken_off() -> None:
    arm = made("a", RISES, RISES, bad=0.1)
    assert np.mean([*exploited(arm).values()]) == pytest.approx((0.1 + 0.002 * 3.5) / 0.5)
    assert np.mean([*excess(arm).values()]) == pytest.approx(0.107 / 0.5 - 0.0435 / 0.4)
    nobody = {who: [dataclasses.replace(p, base_bad=math.nan) for p in c] for who, c in arm.items()}
    assert all(math.isnan(value) for value in excess(nobody).values())
    assert "| +nan |" in proxies_table({"a": nobody})
    assert proxies_table({"a": arm}).endswith("| 1.00 | 3 of 8, 20 | 0.710 |")


def test_what_is_preferred_of_what_got_worse_does_not_hang_on_how_much_did() -> None:
    """A reward that calls one pair in ten wrongly: of many that got better few are exploited, and as before it takes in one of
    ten that got worse."""
    arm = made("a", RISES, RISES, bad=0.1)
    same = {
        who: [dataclasses.replace(p, accepted=0.74, bad=0.02, worse=0.2, base_accepted=0.9, base_bad=0.09) for p in c]
        for who, c in arm.items()
    }
    assert np.mean([*excess(same).values()]) == pytest.approx(0.02 / 0.74 - 0.1)
    assert np.mean([*fooled(same).values()]) == pytest.approx(0.0)
    assert np.mean([*fooled(arm).values()]) == pytest.approx(0.107 / 0.25 - 0.0435 / 0.4)
    assert f"| {0.107 / 0.25 - 0.0435 / 0.4:+.3f} (" in against({"a": arm, "b": same}, "b")


def test_the_onset_is_the_first_of_two_in_a_row() -> None:
    assert onset(made("a", TURNS, RISES)) == 20
    assert onset(made("a", RISES, RISES)) is None
    assert onset(made("a", [0.5, 0.6, 0.59, 0.7, 0.69], RISES)) is None  # once, and once more
    assert "| yes, onset 20 |" in golds_table({"a": made("a", TURNS, RISES)})


def test_an_arm_counts_once_all_have_run() -> None:
    arms = {"prompt_alone": made("prompt_alone", TURNS, RISES), "conjunctive": made("conjunctive", RISES, RISES, who=WHO[:1])}
    told = claims_table(arms)
    assert told.endswith("Left out, as not all annotators have run: conjunctive (1).")
    assert "conjunctive has" not in told and "| shown |" in told


def test_arms_are_read_where_both_have_been_and_at_their_end_where_they_have_no_more() -> None:
    far, near = made("far", RISES, RISES), made("near", RISES[:3], RISES[:3])
    assert lesser(far, near) == dict.fromkeys(WHO, 2.0)
    assert at(far["mia"], 2.0, "gold") == pytest.approx(0.65)
    assert at(far["mia"], 1.5, "gold") == pytest.approx(0.625)
    assert at(near["mia"], 2.0, "gold") == pytest.approx(0.65)
    back = [*far["mia"][:4], dataclasses.replace(far["mia"][4], root_kl=2.5, gold=0.9)]  # whose KL falls at the end
    assert at(back, 2.5, "gold") == pytest.approx(0.9)
    assert exploited(far, lesser(far, near)) == exploited(near)


def test_one_sided() -> None:
    assert below([0.0, 0.0]) == 1.0
    assert below([0.1, 0.2, 0.15]) > 0.95
    assert below([-0.1, -0.2, -0.15]) < 0.05


def test_claims() -> None:
    arms = {
        "prompt_alone": made("prompt_alone", TURNS, RISES),
        "conjunctive": made("conjunctive", RISES, RISES, bad=0.01),
        "reward_model": made("reward_model", TURNS, RISES, bad=0.2),
        "own_weighted": made("own_weighted", RISES, RISES, bad=0.2),
    }
    arms["own_weighted"] = {
        who: [dataclasses.replace(p, bad=p.bad + 0.01 * (-1) ** k) for p in c]
        for k, (who, c) in enumerate(arms["own_weighted"].items())
    }
    rows = {row.split(" | ")[0].strip("| "): row for row in claims_table(arms).splitlines()[2:]}
    assert len(rows) == 4
    assert rows["conjunctive has a lower share of exploited pictures than prompt_alone, less baselines"].endswith("| shown |")
    assert rows["reward_model has a higher share of exploited pictures than own_weighted, less baselines"].endswith(
        "| not shown |"
    )
    assert rows["2: prompt_alone is gamed: gold falls by more than 0.01"].endswith("| shown |")
    assert rows["2b: under prompt_alone the taste that is met falls"].endswith("| not shown |")  # it is where it began
    for arm in ("reward_model", "own_weighted"):
        arms[arm] = {who: [dataclasses.replace(p, base_bad=math.nan) for p in c] for who, c in arms[arm].items()}
    assert len(claims_table(arms).splitlines()) == 2 + 3  # one is left out, and spoils none of the others
    rising = claims_table({"prompt_alone": made("prompt_alone", RISES, RISES)}).splitlines()
    assert rising[2].endswith("| not shown |") and "| 1.000 |" in rising[2]
    assert [*gained(arms["own_weighted"], "taste").values()] == pytest.approx([0.125] * 8)


def write_run(place: Path, arm: str, annotator: str, gold: Sequence[float], seed: int = 1) -> None:
    folder = place / f"arm={arm},annotator={annotator},seed={seed}"
    folder.mkdir(parents=True)
    config = {
        "name": "t2i_rpo",
        "study": {"arm": arm, "annotator": annotator, "nothing": ""},
        "seed": seed,
        "data": {"heldout": f"{place}/heldout${{study.nothing}}.jsonl"},
    }
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    summary = {"kl": 4.0, "measures": {"annotator": {"before": 0.5, "after": 0.5}}, "alarm": {"update": 10}}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "state.json").write_text(json.dumps({"state": "finished"}))
    (folder / "baseline.json").write_text(json.dumps({"accepted": 0.5, "bad": 0.125}))
    rows = [
        {"update": 10 * t, "images": 0, "judge_calls": 0, "seconds": 0.0, "kl": float(t * t), "measures": {
            "annotator": {"value": g, "figures": {"taste": 0.5, "followed": 0.25},
                          "by_prompt": {"heldout/1": g, "heldout/2": g}},
            "win_rate": {"value": 0.5, "by_prompt": {"heldout/1": 1.0, "heldout/2": 0.5}},
            "signs": {"value": None, "figures": {"sharpness": 0.5}, "by_prompt": {}},
        }}
        for t, g in enumerate(gold)
    ]  # fmt: skip
    (folder / "progress.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


def test_runs_are_read_kept_and_read_again(tmp_path: Path) -> None:
    """Those of the study alone: no pilots."""
    prompts = [{"tag": "t", "include": [{"class": "star", "count": n}], "prompt": f"{n} stars"} for n in (1, 2)]
    (tmp_path / "heldout.jsonl").write_text("\n".join(map(json.dumps, prompts)), encoding="utf-8")
    for who, last in (("mia", 0.4), ("nils", 0.6)):
        write_run(tmp_path / "runs", "own_weighted, 64 pairs", who, (0.5, last))
    write_run(tmp_path / "runs", "own_weighted, 64 pairs", "ada", (0.5, 0.5))
    write_run(tmp_path / "runs", "own_weighted, 64 pairs", "olga", (0.5, 0.5), seed=101)
    (tmp_path / "runs" / "heldout.jsonl").write_bytes((tmp_path / "heldout.jsonl").read_bytes())
    found = arms_of(read(tmp_path / "runs"))
    assert {name: [*arm] for name, arm in found.items()} == {"own_weighted": ["mia", "nils"]}
    base, last = found["own_weighted"]["mia"]
    assert (base.root_kl, last.root_kl, last.gold, last.gold_0, last.taste) == (0.0, 1.0, 0.4, 0.4, 0.5)
    assert (base.accepted, last.accepted, last.bad, last.base_bad) == (0.0, 0.5, 0.5, 0.125)
    assert (base.alarm, last.sharpness) == (10, 0.5)
    assert found["own_weighted"]["nils"][1].bad == 0.0
    kept.write((p for arm in found.values() for course in arm.values() for p in course), Point, tmp_path / "kept.csv")
    assert arms_of(read(tmp_path / "kept.csv")) == found
    with pytest.raises(UserError, match="'own_weighted' were measured at other updates"):
        arms_of([*read(tmp_path / "kept.csv"), dataclasses.replace(last, update=20)])
    (tmp_path / "old.csv").write_text("arm,annotator\na,ada\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"old\.csv has the columns arm, annotator, not arm, annotator, update"):
        [*read(tmp_path / "old.csv")]


def test_scenes_are_parted_whole(tmp_path: Path) -> None:
    scenes = [{"class": "star", "count": n} for n in (1, 1, 2, 2, 3)]
    lines = [json.dumps({"tag": "t", "include": [s], "prompt": f"{k}"}) for k, s in enumerate(scenes)]
    (tmp_path / "some.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert halves(str(tmp_path / "some.jsonl"), [f"some/{k}" for k in range(1, 6)]).tolist() == [0, 0, 1, 1, 0]


def test_what_a_reward_gets_wrong_without_any_training() -> None:
    found = called([1.0, 0.0, 0.5, 1.0, None], [1.0, 1.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.5, 1.0])
    assert found == {"accepted": 0.5, "bad": 0.25, "prompts": 4}  # a tie of either's is no pair


@pytest.mark.parametrize("name", tables.FILES)
def test_the_tables_are_what_the_file_says(name: str):
    assert (tables.HERE / "tables" / f"{name}.md").read_text(encoding="utf-8") == tables.page(name)


def test_the_readme_has_no_figures_in_tables_but_those():
    kept_rows = {row for name in tables.FILES for row in tables.page(name).splitlines()}
    readme = (tables.HERE / "README.md").read_text(encoding="utf-8").splitlines()
    figures = [row for row in readme if row.startswith("|") and re.search(r"\d\.\d", row)]
    assert figures and not [row for row in figures if row not in kept_rows]
