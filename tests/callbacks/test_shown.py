"""Verdicts in each logger, for real and offline; those whose packages are not installed are skipped."""

from __future__ import annotations

import csv
import importlib.util
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arr_rpo.callbacks.shown import Card, close, describe, show
from arr_rpo.commands.runs.training import train
from arr_rpo.types import UserError
from tests.conftest import configure
from tests.integration.small import start

CARDS = [Card(Image.new("RGB", (20, 10), color), f"verdict: A\n1.00  0.00  is it {color}?") for color in ("red", "blue")]
SHEET = Image.new("RGB", (20, 20), "white")


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed (arr_rpo[{name}])")


def logger(name: str, folder: Path, *overrides: str) -> Any:
    config = configure(["experiment=t2i_rpo", f"logger={name}", f"run_dir={folder}", *overrides])
    return instantiate(config.logger[name])


def test_tensorboard_shows_the_sheet_and_the_words(tmp_path: Path) -> None:
    board = logger("tensorboard", tmp_path)
    show([board], CARDS, SHEET, 20)
    board.finalize("success")
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0, "images": 0}).Reload()
    [picture] = events.Images("pairs")
    assert (picture.step, picture.width, picture.height) == (20, 20, 20)
    [text] = events.Tensors("pairs/text_summary")
    assert b"is it blue?" in text.tensor_proto.string_val[0]


def test_csv_has_the_curves_and_no_pictures(tmp_path: Path) -> None:
    table = logger("csv", tmp_path)
    table.log_metrics({"reward/mean": 0.5}, step=3)
    show([table], CARDS, SHEET, 3)
    describe([table], {"seed": 1})
    table.finalize("success")
    close([table])
    assert (tmp_path / "csv" / "metrics.csv").read_text() == "reward/mean,step\n0.5,3\n"


@installed("wandb")
def test_wandb_offline_keeps_curves_pictures_with_their_words_and_the_config(tmp_path: Path) -> None:
    import wandb

    board = logger("wandb", tmp_path, "logger.wandb.offline=true")
    describe([board], {"seed": 7})
    board.log_metrics({"reward/mean": 0.5}, step=20)
    show([board], CARDS, SHEET, 20)
    [name] = {board.experiment.summary["pairs"]["_type"]}
    assert name == "images/separated"
    assert board.experiment.summary["pairs"]["captions"] == [card.text for card in CARDS]
    assert board.experiment.config["seed"] == 7
    close([board])
    assert wandb.run is None  # the next run of a sweep is one of its own
    pictures = list(tmp_path.rglob("media/images/*.png"))
    assert len(pictures) == 2
    assert {Image.open(picture).size for picture in pictures} == {(20, 10)}
    assert len(list(tmp_path.rglob("*.wandb"))) == 1


@installed("mlflow")
def test_mlflow_keeps_curves_pictures_words_and_the_config(tmp_path: Path) -> None:
    board = logger("mlflow", tmp_path)
    describe([board], {"seed": 7})
    board.log_metrics({"reward/mean": 0.5}, step=20)
    show([board], CARDS, SHEET, 20)
    board.finalize("success")
    [text] = tmp_path.rglob("pairs/00020.md")
    assert "is it blue?" in text.read_text()
    [picture] = tmp_path.rglob("images/*.png")
    assert Image.open(picture).size == (20, 20)
    with sqlite3.connect(tmp_path / "mlflow.db") as base:
        assert base.execute("select key, value, step from metrics").fetchall() == [("reward/mean", 0.5, 20)]
        assert ("seed", "7") in base.execute("select key, value from params").fetchall()


@pytest.mark.slow
@installed("wandb")
@installed("mlflow")
def test_a_run_with_all_of_them(tmp_path: Path) -> None:
    loggers = ["logger=[tensorboard,csv,wandb,mlflow]", "logger.wandb.offline=true"]
    run = start(tmp_path / "run", *loggers, "callbacks.image_grid.every_n_updates=2")
    rewards = [row["reward/mean"] for row in map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines())]
    with sqlite3.connect(run.path / "mlflow.db") as base:
        known = base.execute("select value from metrics where key = 'reward/mean' order by step").fetchall()
    assert [value for (value,) in known] == pytest.approx(rewards)
    with (run.path / "csv" / "metrics.csv").open(newline="") as file:
        table = [float(row["reward/mean"]) for row in csv.DictReader(file) if row["reward/mean"]]
    assert table == pytest.approx(rewards)
    assert len(list(run.path.rglob("wandb/offline-run-*/*.wandb"))) == 1
    assert len(list(run.path.rglob("mlartifacts/**/pairs/*.md"))) == len(list((run.path / "grids").iterdir())) == 3


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"logger=wandb: its package is not installed: pip install 'arr_rpo\[wandb\]'"):
        train(configure(["experiment=t2i_rpo", "logger=wandb", f"run_dir={tmp_path}"]))
