"""A made study: records as `runs` and `compare` give them, with the pictures and verdict samples of its runs on disk."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from PIL import Image

from arr_rpo.report.analysis import END, MATCHED_KL, Analysis, ArmResult, Comparison, Estimate, Interval, OrderClaim
from arr_rpo.report.page import Limits
from arr_rpo.report.study import Curve, HeldoutPrompt, Measured, ProgressPoint, Replicate, Run, Study

MEASURE = "shapes"
HOSTILE = "<script>document.title='owned'</script> & \"quotes\" </script>"
REPLICATES = (Replicate("", 1), Replicate("", 2))
OUTCOMES = ("A", "B", "tie", "inconsistent", "failed")
LIMITS = Limits(verdicts=60, prompts=4, replicates=2, liked=2, points=20, criteria=4, picture_side=192, picture_megabytes=9)


def study(folder: Path, arms: Sequence[str] = ("rubric", "scalar"), seeds: Sequence[int] = (1, 2), updates: int = 30) -> Study:
    """Arms differ in `reward`, and in how fast they learn; the last run of the last arm did not end."""
    runs = [made_run(folder, arm, number, seed, updates) for number, arm in enumerate(arms) for seed in seeds]
    runs[-1] = unfinished(runs[-1])
    missing = (f"{runs[-1].name}: no summary.json: the run did not end",)
    return Study(
        folder, "Reward <form>", "Does a rubric beat a scalar?", arms[0], tuple(arms), (), (), tuple(runs), missing, (MEASURE,)
    )


def made_run(folder: Path, arm: str, number: int, seed: int, updates: int) -> Run:
    place = folder / f"{arm}" / f"seed={seed}"
    gain = 0.3 / (1 + number) + 0.01 * seed
    summary = {
        "kl": 40.0 + number,
        "images": 128 * updates,
        "judge": {"calls": 300 * updates},
        "seconds": 600.0,
    }
    criteria = {"before": 0.6, "after": 0.6 + gain / 2}
    measures = {MEASURE: {"before": 0.4, "after": 0.4 + gain, "figures": {"criteria": criteria}}}
    times = tuple(range(1, updates + 1))
    curves = {
        name: Curve(
            name,
            times,
            tuple(start + gain * (1 - math.exp(-t / 10)) for t in times),
            tuple(128.0 * t for t in times),
            tuple(300.0 * t for t in times),
        )
        for name, start in {
            "reward/mean": 0.0,
            "judge/flip_rate": 0.2,
            "criterion/color": 0.5,
            "criterion/position": 0.3,
        }.items()
    }
    progress = tuple(
        ProgressPoint(
            t, 128 * t, 300 * t, 7.5 * t, 40.0 * t / updates, {MEASURE: Measured(0.4 + gain * t / updates, {"criteria": 0.6})}
        )
        for t in (0, updates // 2, updates)
    )
    config = {"seed": seed, "run_dir": str(place), "reward": {"_target_": f"reward.{arm}", "lose": -0.5 * number}, "lr": 3e-4}
    config["callbacks"] = {"rubric_reward": {"reward": config["reward"], "run_dir": str(place)}}
    versions = {"torch": "2.13.0", "python": "3.11.7", "commit": "0123456789abcdef", "dirty": False}
    versions["commands"] = ["python train.py -m experiment=t2i_rpo reward=rubric,scalar seed=1,2"]
    return Run(
        place, f"{arm}/seed={seed}", arm, seed, True, config, summary, measures, heldout(place, number, seed), progress, curves,
        versions, verdict_pictures(place, number, seed, updates), (),
    )  # fmt: skip


def unfinished(run: Run) -> Run:
    prompts = tuple(
        HeldoutPrompt(p.prompt_id, p.split, p.tag, p.text, p.before, {}, {k: v for k, v in p.pictures.items() if k == "base"})
        for p in run.heldout
    )
    changes: dict[str, Any] = {
        "finished": False,
        "summary": {},
        "measures": {},
        "heldout": prompts,
        "missing": ("no summary.json: the run did not end",),
    }
    return Run(**{**run.__dict__, **changes})


def heldout(place: Path, number: int, seed: int, prompts: int = 6) -> tuple[HeldoutPrompt, ...]:
    made = []
    for i in range(prompts):
        pictures = {
            "base": picture(place / f"heldout/{i}_base.png", (200, 30 * i, 10 * seed)),
            "trained": picture(place / f"heldout/{i}_trained.png", (30 * i, 200, 40 * number)),
        }
        text = HOSTILE if i == 0 else f"a photo of {i} circles"
        before, after = ({MEASURE: Measured(value, {"criteria": 0.5 + value / 2})} for value in (0.0, float(i % 2 == 0)))
        made.append(HeldoutPrompt(f"h/{i}", "heldout", "counting", text, before, after, pictures))
    return tuple(made)


def verdict_pictures(place: Path, number: int, seed: int, updates: int) -> tuple[Path, ...]:
    """Two updates with five pairs each, one of every outcome; the oracle says A of all but the last."""
    folder = place / "verdict_pictures"
    for update in (0, updates - 1):
        pairs = [verdict(folder, update, number, seed, i) for i in range(len(OUTCOMES))]
        write(folder / f"update_{update:05d}.json", {"update": update, "pairs": pairs})
    return tuple(sorted(folder.glob("update_*.json")))


def verdict(folder: Path, update: int, number: int, seed: int, i: int) -> dict[str, Any]:
    names = [f"update_{update:05d}_{i}_{side}.png" for side in "ab"]
    for side, name in enumerate(names):
        picture(folder / name, (50 * i, 100 * side, (update * 3 + 20 * number + seed) % 256))
    questions = [["color", "is it red?", [0.9, 0.2]], ["position", "is it left of the blue one?", [0.3, 0.6]]]
    criteria = [{"name": name, "question": question, "weight": 1.0} for name, question, _ in questions]
    oracle = {
        "outcome": "A",
        "criteria": [["is it red?", [True, False]], ["is it left of the blue one?", [True, True]]],
        "checks": [[True, False], [True, True]],
    }
    return {
        "prompt": HOSTILE if i == 0 else f"a drawing of a {OUTCOMES[i]} star",
        "prompt_id": f"train/{i}",
        "kind": "verdict",
        "rubric": criteria,
        "candidates": [0, 1],
        "outcome": OUTCOMES[i],
        "p_a": None if OUTCOMES[i] == "failed" else 0.75,
        "p_a_by_order": None if OUTCOMES[i] == "failed" else [0.8, 0.7],
        "grades": None,
        "checks": questions,
        "reason": "no answer" if OUTCOMES[i] == "failed" else "",
        "pictures": names,
        "source": None,
        "oracle": None if OUTCOMES[i] == "failed" else oracle,
    }


def edited(study: Study) -> Study:
    """The study, of edits: a grey source for each prompt with pictures, and beside each judged pair."""
    runs = []
    for run in study.runs:
        grey = picture(run.folder / "verdict_pictures" / "source.png", (128, 128, 128))
        for file in run.verdict_pictures:
            told = json.loads(file.read_text(encoding="utf-8"))
            write(file, {**told, "pairs": [{**pair, "source": grey.name} for pair in told["pairs"]]})
        heldout = tuple(dataclasses.replace(p, pictures={**p.pictures, "source": grey}) for p in run.heldout)
        runs.append(dataclasses.replace(run, heldout=heldout))
    return dataclasses.replace(study, runs=tuple(runs))


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), colour).save(path)
    return path


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def estimate(value: float, half: float = 0.05, units: int = 2) -> Estimate:
    return Estimate(value, units, Interval(value - half, value + half), None)


def analysis(study: Study) -> Analysis:
    """What a comparison might have found; the figures are those of nobody."""
    arms = tuple(
        ArmResult(
            arm, REPLICATES, estimate(0.4), estimate(0.7 - 0.1 * i), estimate(0.3 - 0.1 * i), estimate(40, 3),
            estimate(3840), estimate(9000), estimate(600),
        )
        for i, arm in enumerate(study.arms)
    )  # fmt: skip
    found = [
        Comparison(
            arm, study.arms[0], condition, at, estimate(-0.1), REPLICATES, 514, 0.01, 0.02, "reversed",
            f"{arm} is worse than {study.arms[0]} by 0.100 (0.050 to 0.150), {condition}.",
        )
        for condition, at in ((END, None), (MATCHED_KL, 38.5))
        for arm in study.arms[1:]
    ]  # fmt: skip
    claim = OrderClaim(tuple(study.arms), END, tuple(found[:1]), 0.4, "not shown", f"{' > '.join(study.arms)} is not shown.")
    return Analysis(MEASURE, arms, tuple(found), (claim,), 0.95, ("Intervals are t intervals over seeds.",))


def report_config(*overrides: str) -> DictConfig:
    """The config of `report.py`, as its command line would get it."""
    with initialize_config_module("arr_rpo.configs.report", version_base="1.3"):
        return compose("report", overrides=list(overrides))
