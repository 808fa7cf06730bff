"""`evaluate.py` as it is composed: a finished run's policy by default, a judge on labelled pairs by task=judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from arr_rpo import ranks
from arr_rpo.commands.evaluate import _start, bench, evaluate, setting_of
from arr_rpo.types import UserError

ROOT = Path(__file__).parents[2]
SETS = sorted(p.stem for p in (ROOT / "configs" / "preferences").glob("*.yaml"))
FROM_FILES = [name for name in SETS if name != "reading" and not name.startswith(("shapes", "annotator"))]


def configure(*overrides: str) -> DictConfig:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose("evaluate", overrides=list(overrides))


def test_the_default_task_is_that_of_a_run() -> None:
    config = configure("run=somewhere")
    assert dict(config) == {"task": "policy", "run": "somewhere", "allow": [], "batch_size": 128, "measure": {}}


def test_the_sets_of_preferences() -> None:
    assert len(FROM_FILES) == 11


@pytest.mark.parametrize("name", FROM_FILES)
def test_every_set_of_preferences_composes_and_fits_its_reader(name: str, tmp_path: Path) -> None:
    config = configure("task=judge", f"preferences={name}", f"preferences.path={tmp_path}/gone.json", "run_dir=x")
    with pytest.raises(InstantiationException) as error:  # all arguments fit; only the file is missing
        instantiate(config.preferences)
    assert isinstance(error.value.__cause__, UserError)
    assert "no such file" in str(error.value.__cause__)


def test_prompts_that_nothing_measures_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat on a skateboard\n", encoding="utf-8")
    data = {"_target_": "arr_rpo.data.datamodule.PromptDataModule", "train": "shapes/train", "unseen": None}
    data |= {"heldout": str(tmp_path / "prompts.txt"), "updates": 1, "candidates_per_update": 8}
    data |= {"group_size": 8, "choose_from": 1, "seed": 1}
    data |= {"columns": {}, "image_root": None, "min_side": 16, "max_side": 64, "shared": "refuse"}
    recorded = {"policy": {"_target_": "arr_rpo.policy.pipeline.PipelinePolicy"}, "data": data}
    (tmp_path / "policy").mkdir()
    (tmp_path / "config.yaml").write_text(json.dumps(recorded), encoding="utf-8")
    with pytest.raises(UserError, match=r"no callbacks\.heldout"):
        evaluate(configure(f"run={tmp_path}"))
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        trained = compose("train", overrides=["run_dir=x", "name=x"])
    whole = OmegaConf.to_container(trained.callbacks.heldout, resolve=False)
    shapes = {"_target_": "arr_rpo.shapes.oracles.measure.ShapesOracle"}
    recorded["callbacks"] = {"heldout": {**whole, "measures": {"shapes": shapes}}}
    (tmp_path / "config.yaml").write_text(json.dumps(recorded), encoding="utf-8")
    with pytest.raises(UserError, match="nothing to measure by"):
        evaluate(configure(f"run={tmp_path}"))


@pytest.mark.parametrize("protocol", ["pairwise", "rubric", "criteria", "scalar", "checklist", "rational", "delta_rubric"])
def test_the_bench_asks_by_the_protocol_of_each_reward(protocol: str, tmp_path: Path) -> None:
    config = configure(
        "task=judge",
        "judge=oracle",
        f"reward={protocol}",
        "preferences.ties=drop",
        f"run_dir={tmp_path}",
        f"rubric.store={tmp_path}/rubrics",
        "bench.limit=6",
        "bench.batch_size=4",
        "bench.progress=false",
        "bench.resampling.draws=20",
    )
    result = bench(config)
    assert result.pairs == 6
    assert result.outcomes.get("failed", 0) == 0
    if protocol in ("pairwise", "rubric", "criteria", "scalar", "checklist"):  # these count criteria, as the label does
        assert result.overall["accuracy"].value == 1.0
    assert json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["setting"]["judge_name"] == "oracle"


def test_the_random_judge_is_right_half_of_the_time(tmp_path: Path) -> None:
    config = configure(
        "task=judge", "judge=random", "reward=pairwise", "rubric=none", f"run_dir={tmp_path}", "preferences.ties=drop",
        "bench.limit=200", "bench.progress=false", "bench.resampling.draws=200",
    )  # fmt: skip
    accuracy = bench(config).overall["accuracy"]
    assert accuracy.value == pytest.approx(0.5, abs=0.14)  # 4 standard deviations
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.high - accuracy.low == pytest.approx(2 * 1.96 * (0.25 / 200) ** 0.5, abs=0.03)


def test_a_misspelt_key_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InstantiationException, match="batchsize"):
        bench(configure("task=judge", "judge=oracle", f"run_dir={tmp_path}", "+bench.batchsize=3"))


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path) -> None:
    def run(*overrides: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "evaluate.py"), *overrides]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    oracle = ["task=judge", "judge=oracle", "reward=pairwise", "rubric=none"]
    done = run(*oracle, "bench.limit=5", "bench.progress=false", "bench.resampling.draws=20")
    assert "| accuracy | 1.000 |" in done.stdout
    [folder] = (tmp_path / "runs" / "judge").iterdir()
    files = {p.name for p in folder.iterdir()}
    assert files == {".lock", "setting.json", "judged_pairs.jsonl", "bench.json", "bench.md", "mmrb2_predictions.json"}
    old = run("run=gone")
    assert old.returncode == 1
    assert "error: run=gone: no config.yaml there" in old.stderr


def test_a_bench_goes_on_however_its_server_is_reached(tmp_path: Path) -> None:
    server = ("task=judge", "judge=server", "judge.model.model=m", f"run_dir={tmp_path}")
    setting = setting_of(configure(*server))
    assert setting_of(configure(*server, "judge.model.timeout=5", "judge.model.base_url=http://other/v1")) == setting
    assert setting_of(configure(*server, "judge.model.parameters.temperature=0.5")) != setting
    assert "/v1" not in json.dumps(setting)


def test_a_run_that_goes_on_is_not_measured_by_the_weights_of_before(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "config.yaml").write_text(json.dumps({"policy": {"checkpoint": "x"}, "data": {"train": "x"}}), encoding="utf-8")
    (tmp_path / "state.json").write_text(json.dumps({"state": "running", "update": 120}), encoding="utf-8")
    with pytest.raises(UserError, match=r"the run did not end.*resume="):
        evaluate(configure(f"run={tmp_path}"))


def test_a_start_that_is_gone_is_missed_by_what_compares_with_it(tmp_path: Path) -> None:
    """And by nothing else: the trained weights have it in them."""
    for asked, there in ((True, False), (False, False), (True, True)):
        start = tmp_path / ("sft" if there else "gone")
        (tmp_path / "sft").mkdir(exist_ok=True)
        trained = OmegaConf.create({"policy": {"adapter": {"start_from": str(start)}}})
        measures: dict[str, Any] = {"win_rate": SimpleNamespace(against_base=asked)}
        if asked and not there:
            with pytest.raises(UserError, match=r"started from .*gone, which is not there any more, and measure=win_rate"):
                _start(trained, tmp_path, measures)
        else:
            _start(trained, tmp_path, measures)
            assert trained.policy.adapter.start_from == (str(start) if there else None)


def test_a_list_of_devices_names_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    current: list[object] = []
    monkeypatch.setattr("torch.cuda.set_device", current.append)
    try:
        for devices, expected in (
            ([2, 3], "cuda:3"),
            (["2", "5"], "cuda:5"),
            (2, "cuda:1"),
            ("auto", "cuda:1"),
            (None, "cuda:1"),
        ):
            ranks.use_gpus(OmegaConf.create(devices) if isinstance(devices, list) else devices)
            assert ranks.device("auto") == current[-1] == expected  # where libraries put what they quantise
            assert ranks.device("cpu") == "cpu"
        ranks.on_device("cuda")  # torch wants an index
        assert current[-1] == 1
        ranks.use_gpus([2, 3], "cpu")
        assert current[-1] == 1  # no context on a GPU that is not used
        ranks.use_gpus(None)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 1)  # --gpus-per-task=1
        assert ranks.device("auto") == "cuda:0"
    finally:
        monkeypatch.undo()
        ranks.use_gpus(None)
