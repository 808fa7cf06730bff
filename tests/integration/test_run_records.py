"""What a run writes for the report: each held-out prompt, progress, pictures. It changes nothing in the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arr_rpo.commands.runs.training import train
from arr_rpo.data.prompts import read_prompts
from arr_rpo.report.read_study import read_study
from arr_rpo.run.folder import RunFolder
from arr_rpo.shapes.oracles.measure import judged
from tests.conftest import configure
from tests.integration.small import HELDOUT, SMALL
from tests.stops import stop_before

pytestmark = pytest.mark.slow
OPTIONS = [*SMALL, "data.updates=3", "callbacks.heldout.pictures=3"]


def run(folder: Path, heldout: Path, *overrides: str) -> Path:
    train(configure([*OPTIONS, f"run_dir={folder}", f"data.heldout={heldout}", *overrides]))
    return folder


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def without_seconds(path: Path) -> list[dict[str, Any]]:
    return [{**row, "seconds": None} for row in rows(path)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    trained: dict[str, torch.Tensor] = torch.load(RunFolder(folder).checkpoint() / "state.ckpt", weights_only=True)[
        "state_dict"
    ]
    return trained


def test_what_a_run_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heldout = tmp_path / "heldout.jsonl"
    heldout.write_text("\n".join(HELDOUT.read_text(encoding="utf-8").splitlines()[::64]), encoding="utf-8")  # 9 prompts
    whole = run(tmp_path / "whole", heldout)
    card = " ".join(capsys.readouterr().out.split())
    for line in ("judge RandomJudge", "rubric, reward none, Compare", "updates 3 of 8 pictures", f"folder {whole}"):
        assert line in card
    progress = rows(whole / "progress.jsonl")
    assert [row["update"] for row in progress] == [0, 2, 3]
    assert [row["images"] for row in progress] == [0, 16, 24]
    assert [row["judge_calls"] for row in progress] == [0, 16, 24]  # a verdict a pair, in both orders
    assert progress[0]["kl"] == 0 < progress[-1]["kl"]
    own = [row["measures"]["shapes"] for row in progress]
    assert list(own[0]["by_prompt"]) == ["heldout/1", "heldout/3", "heldout/5", "heldout/7"]
    for row in own:
        assert row["value"] == sum(row["by_prompt"].values()) / 4
    events = EventAccumulator(str(whole))
    events.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("heldout/shapes")] == [
        (row["update"], row["measures"]["shapes"]["value"]) for row in progress
    ]

    summary = json.loads((whole / "summary.json").read_text(encoding="utf-8"))
    prompts = {prompt.id: prompt for prompt in read_prompts(heldout)}
    outcomes = rows(whole / "heldout.jsonl")
    assert [row["prompt_id"] for row in outcomes] == list(prompts)
    for when in ("before", "after"):
        assert sum(row[when]["shapes"]["value"] for row in outcomes) / 9 == summary["measures"]["shapes"][when]
    shown = [row for row in outcomes if row["pictures"]]
    assert [row["prompt_id"] for row in shown] == ["heldout/1", "heldout/4", "heldout/7"]
    for row in shown:
        assert set(row["pictures"]) == {"base", "trained"}
        picture = Image.open(whole / row["pictures"]["trained"])
        assert judged(prompts[row["prompt_id"]], picture).to_dict() == row["after"]["shapes"]

    plain = run(tmp_path / "plain", heldout, "callbacks.heldout.every_n_updates=null", "callbacks.verdict_pictures=null")
    assert not (plain / "progress.jsonl").exists()
    first, other = weights(whole), weights(plain)
    assert all(torch.equal(first[name], other[name]) for name in first)

    part = tmp_path / "part"
    with pytest.raises(SystemExit):
        run(part, heldout, stop_before(2))
    assert [row["update"] for row in rows(part / "progress.jsonl")] == [0, 2]
    run(tmp_path / "unused", heldout, f"resume={part}")
    assert without_seconds(part / "progress.jsonl") == without_seconds(whole / "progress.jsonl")
    assert rows(part / "heldout.jsonl") == rows(whole / "heldout.jsonl")
    assert len(json.loads((part / "versions.json").read_text(encoding="utf-8"))["commands"]) == 2
    assert all(torch.equal(value, weights(part)[name]) for name, value in first.items())

    read = {one.name: one for one in read_study(tmp_path).runs}
    assert read["whole"].missing == ()
    assert read["plain"].missing == (
        "no progress.jsonl: it cannot be compared at equal images, equal judge calls or matched KL",
    )
    assert read["whole"].curves["judge/flip_rate"].images == (8.0, 16.0, 24.0)
    assert read["part"].curves["judge/flip_rate"].values == read["whole"].curves["judge/flip_rate"].values
    assert len(read["whole"].verdict_pictures) == 2
