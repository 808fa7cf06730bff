"""Held-out measures in whole runs, on prompts that an oracle knows and on prompts that none knows."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from arr_rpo.callbacks.hacking_monitor import HackingMonitor
from arr_rpo.commands.evaluate import evaluate
from arr_rpo.commands.report import report
from arr_rpo.commands.runs.stage import objective
from arr_rpo.commands.runs.training import train
from arr_rpo.measure.base import Taken, Value
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.run.folder import RunFolder
from arr_rpo.types import UserError
from tests.conftest import configure
from tests.integration.small import SMALL, start, without_time
from tests.report.made import report_config
from tests.scorer import functions
from tests.stops import stop_before

pytestmark = pytest.mark.slow
BRIGHTNESS = ("measure.score.scorer.function=tests.scorer.functions.brightness",)
SHARP = ("callbacks.hacking_monitor.rule.z=1000", "callbacks.hacking_monitor.rule.sign=1e-9")
OWN = ["a cat on a roof", "two dogs", "a wooden bench", "a bowl of soup", "rain", "a red kite"]


def own_prompts(folder: Path) -> list[str]:
    """Of no world that an oracle knows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text("\n".join(f"{n} dogs" for n in range(8)), encoding="utf-8")
    (folder / "test.txt").write_text("\n".join(OWN), encoding="utf-8")
    return [f"data.train={folder}", f"data.heldout={folder}"]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_prompts_of_ones_own_are_measured_by_a_scorer_and_by_a_judge_and_arms_compared(tmp_path: Path) -> None:
    """Before, on the way and after; the first measure is what counts."""
    for arm, seed in (("a", 1), ("a", 2), ("b", 1), ("b", 2)):
        chosen = ["measure=[score,win_rate]", *BRIGHTNESS, f"seed={seed}", f"+study.arm={arm}", "+study.reference=b"]
        train(configure([*SMALL, f"run_dir={tmp_path}/study/{arm}{seed}", *own_prompts(tmp_path / "prompts"), *chosen]))
    run = RunFolder(tmp_path / "study" / "a1")
    summary = run.summary()
    assert summary is not None and list(summary["measures"]) == ["score", "win_rate", "signs"]
    score, wins = summary["measures"]["score"], summary["measures"]["win_rate"]
    assert 0 < score["before"] < 1 and 0 < score["after"] < 1
    assert wins["before"] == 0.5 and wins["judge_calls"] >= 2 * len(OWN)
    assert objective(run.path) == score["after"]
    progress = rows(run.path / "progress.jsonl")
    assert [row["update"] for row in progress] == [0, 2, 4]
    assert all(set(row["measures"]) == {"score", "win_rate", "signs"} for row in progress)
    best = json.loads((run.path / "checkpoints" / "best.json").read_text(encoding="utf-8"))
    assert best["measure"] == "heldout/score"
    assert best["value"] == max(row["measures"]["score"]["value"] for row in progress)
    assert len(list((run.path / "heldout_base").iterdir())) == len(OWN)
    report(report_config(f"study={tmp_path / 'study'}"))
    text = (tmp_path / "study" / "report.md").read_text(encoding="utf-8")
    assert "## Results: held-out score" in text and "## Results: held-out win_rate" in text
    assert "paired on 6 prompts a seed" in text


def test_no_measure_draws_no_heldout_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a held-out picture was drawn")

    monkeypatch.setattr(PipelinePolicy, "generate", never)
    monkeypatch.setattr("arr_rpo.callbacks.heldout.path_kl", never)
    run = start(tmp_path / "run", "measure=none")
    summary = run.summary()
    assert summary is not None and summary["measures"] == {} and summary["kl"] is None
    assert objective(run.path) is None
    assert not (run.path / "progress.jsonl").exists() and not (run.path / "heldout.jsonl").exists()


def test_a_run_that_goes_on_measures_against_the_same_base(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", "measure=[win_rate,shapes]")
    with pytest.raises(SystemExit):
        start(tmp_path / "part", "measure=[win_rate,shapes]", stop_before(3))
    start(tmp_path / "unused", "measure=[win_rate,shapes]", f"resume={tmp_path / 'part'}")
    for name in ("progress.jsonl", "heldout.jsonl"):
        both = [[without_time(row) for row in rows(run / name)] for run in (whole.path, tmp_path / "part")]
        assert both[0] == both[1]
    calls = [(RunFolder(run).summary() or {})["measures"]["win_rate"]["judge_calls"] for run in (whole.path, tmp_path / "part")]
    assert calls[0] == calls[1] > 0


def test_heldout_pictures_may_be_drawn_otherwise_than_training(tmp_path: Path) -> None:
    plain = start(tmp_path / "plain")
    drawing = ["callbacks.heldout.drawing.num_inference_steps=5", "+callbacks.heldout.drawing.call.height=48"]
    other = start(tmp_path / "other", *drawing)
    with Image.open(next((other.path / "heldout_pictures").glob("*_trained.png"))) as picture:
        assert picture.size == (32, 48)
    for name in ("verdicts.jsonl",):  # what was trained is the same
        assert rows(plain.path / name) == rows(other.path / name)


def test_a_run_whose_encoders_are_gone_goes_on_to_draw_heldout_pictures_otherwise(tmp_path: Path) -> None:
    """Prompts of held-out pictures are encoded otherwise, too, and before the encoders are freed."""
    chosen = ["policy.release_text_encoders=true", "+callbacks.heldout.drawing.call.max_sequence_length=10"]
    whole = start(tmp_path / "whole", *chosen)
    with pytest.raises(SystemExit):
        start(tmp_path / "part", *chosen, stop_before(3))
    start(tmp_path / "unused", *chosen, f"resume={tmp_path / 'part'}")
    both = [[without_time(row) for row in rows(run / "progress.jsonl")] for run in (whole.path, tmp_path / "part")]
    assert both[0] == both[1]
    found = evaluate(configure([f"run={whole.path}", "measure=[score]", *BRIGHTNESS], command="evaluate"))
    assert found["heldout"]["score"]["missing"] == 0  # and again, by a command that frees them, too


def test_a_finished_run_is_measured_by_other_measures(tmp_path: Path) -> None:
    run = start(tmp_path / "run")
    config = configure([f"run={run.path}", "measure=[score,win_rate]", *BRIGHTNESS], command="evaluate")
    found = evaluate(config)["heldout"]
    assert set(found) == {"score", "win_rate"}
    assert 0 < found["score"]["value"] < 1 and found["win_rate"]["missing"] == 0
    assert OmegaConf.load(run.path / "config.yaml").measure.keys() == {"shapes"}


def test_a_cheat_is_told_and_the_run_ends(tmp_path: Path) -> None:
    """The rule is made so sharp that any change counts."""
    run = start(tmp_path / "run", *SHARP, "callbacks.hacking_monitor.stop_on_alarm=true", "data.updates=9")
    (alarm,) = rows(run.path / "alarms.jsonl")
    summary = run.summary()
    assert summary is not None and summary["alarm"]["update"] == alarm["update"] == 2
    assert summary["alarm"]["reasons"] == alarm["reasons"] and alarm["reasons"][0].startswith("pictures")
    assert len(alarm["pictures"]) == 4  # as many as are measured on the way
    for pictures in alarm["pictures"].values():
        with Image.open(run.path / pictures["base"]) as base, Image.open(run.path / pictures["now"]) as now:
            assert base.size == now.size and base.tobytes() != now.tobytes()
    assert [row["update"] for row in rows(run.path / "metrics.jsonl")] == [0, 1, 2]  # of nine
    report(report_config(f"study={run.path}", f"output={tmp_path / 'report'}"))
    assert "## Alarms" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


def test_a_run_that_an_alarm_ended_goes_on(tmp_path: Path) -> None:
    """The checkpoint is that of after its last update, also where none is due and the last measurement is the best one."""
    ended = [
        *SHARP,
        "callbacks.hacking_monitor.stop_on_alarm=true",
        "data.updates=5",
        "callbacks.checkpoint.every_seconds=9999",
    ]
    same = ["measure=[score]", "measure.score.scorer.function=tests.scorer.functions.always"]
    run = start(tmp_path / "run", *ended, *same)
    assert [row["update"] for row in rows(run.path / "metrics.jsonl")] == [0, 1, 2]
    start(tmp_path / "unused", *ended, *same, f"resume={run.path}")
    assert [row["update"] for row in rows(run.path / "metrics.jsonl")] == [0, 1, 2, 3, 4]
    assert run.finished() and run.summary() is not None
    assert len(rows(run.path / "alarms.jsonl")) == 1


def test_the_best_of_a_last_measurement_is_not_lost_as_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is taken after the last state was kept, so that this does not know of it."""
    scored = ["measure=[score]", "measure.score.scorer.function=tests.scorer.functions.as_told"]
    scored += ["callbacks.heldout.every_n_updates=2"]
    rising = iter(k / 100 for k in range(1, 100))
    monkeypatch.setattr(functions, "told", lambda: next(rising))
    run = start(tmp_path / "run", *scored, "data.updates=3")
    best = json.loads((run.path / "checkpoints" / "best.json").read_text(encoding="utf-8"))
    at_two = next(row for row in rows(run.path / "progress.jsonl") if row["update"] == 2)["measures"]["score"]["value"]
    assert best["update"] == 3 and best["value"] > at_two
    monkeypatch.setattr(functions, "told", lambda: (best["value"] + at_two) / 2)
    start(tmp_path / "unused", *scored, f"resume={run.path}", "data.updates=5")
    assert run.best() == 3 and 3 in run.checkpoints()


def test_an_alarm_outlives_a_signal_in_the_update_that_it_came_before(tmp_path: Path) -> None:
    """What a run that was stopped there leaves is what an unbroken one leaves."""
    every = [*SHARP, "callbacks.checkpoint.every_seconds=9999", "data.updates=5"]
    whole = start(tmp_path / "whole", *every)
    within = f"+callbacks.stop={{_target_: tests.stops.SignalWithin, update: 2, call: 1, number: {int(signal.SIGTERM)}}}"
    with pytest.raises(SystemExit):
        start(tmp_path / "part", *every, within)
    start(tmp_path / "unused", *every, f"resume={tmp_path / 'part'}")
    for name in ("alarms.jsonl", "progress.jsonl"):
        both = [[without_time(row) for row in rows(run / name)] for run in (whole.path, tmp_path / "part")]
        assert both[0] == both[1] and both[0]


def test_a_trusted_win_rate_is_no_proxy_of_itself() -> None:
    """By an independent judge: training raises its own curves, and this falls."""
    prompts = [f"p{n}" for n in range(40)]
    given: Any = {"rule": instantiate(configure(["experiment=t2i_rpo"]).callbacks.hacking_monitor.rule), "stop_on_alarm": False}
    monitor = HackingMonitor(gold="win_rate", pictures=4, **given)
    trainer: Any = SimpleNamespace(loggers=[], callbacks=[monitor])
    for update, (gold, proxy) in enumerate([(0.7, 0.65), (0.55, 0.8), (0.4, 0.9)]):
        monitor._since = {"criterion/mean": [proxy - 0.01, proxy, proxy + 0.01]}
        values = {prompt: Value(gold + 0.001 * k) for k, prompt in enumerate(prompts)}
        monitor.measured(trainer, update * 5, {"win_rate": Taken(values, {})})
    assert monitor.raised is not None


def test_a_gold_that_is_not_measured_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gold=shape: there is no such measure in this run; there are shapes"):
        start(tmp_path / "run", "callbacks.hacking_monitor.gold=shape")


def test_no_prompts_measure_no_kl(tmp_path: Path) -> None:
    run = start(tmp_path / "run", "callbacks.heldout.kl_prompts=0", "callbacks.heldout.final_kl_prompts=0")
    summary = run.summary()
    assert summary is not None and summary["kl"] is None and summary["measures"]["shapes"]["after"] is not None
    assert {row["kl"] for row in rows(run.path / "progress.jsonl")} == {None}
