"""A run that was stopped, killed or disturbed comes to the same as one that was not."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors import safe_open
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arr_rpo.commands.export import export
from arr_rpo.commands.runs.resume import resumed
from arr_rpo.commands.runs.training import train
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import Rows
from arr_rpo.types import UserError
from tests.conftest import configure, make_policy
from tests.integration.small import NOT_COMPARED, start, training_state, without_time
from tests.stops import stop_before

pytestmark = pytest.mark.slow
ALGORITHMS = {
    "rpo": [],
    "grpo": ["algorithm=grpo", "algorithm.group_size=4", "reward/pairing=round_robin"],
    "grpo_guard": ["algorithm=grpo_guard", "algorithm.group_size=4", "reward/pairing=round_robin"],
    "flow_dpo": ["algorithm=flow_dpo", "sampler=ode"],
    "diffusion_nft": ["algorithm=diffusion_nft", "algorithm.group_size=2", "sampler=ode", "algorithm.old_decay.slope=0.3"],
    "curriculum": ["judge=oracle", "data.choose_from=2"],
}


def stopped(folder: Path, *overrides: str) -> RunFolder:
    with pytest.raises(SystemExit):
        start(folder, *overrides)
    return RunFolder(folder)


def go_on(run: RunFolder, *overrides: str) -> None:
    train(resumed(str(run.path), list(overrides), OmegaConf.create({"allow": ["tests.stops"]})))


def assert_equal(a: Any, b: Any, name: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), name
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a:
            assert_equal(a[key], b[key], f"{name}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), name
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_equal(one, other, f"{name}.{number}")
    else:
        assert a == b, name


def curves(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """As TensorBoard shows them."""
    events = EventAccumulator(str(run.path))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith(NOT_COMPARED)]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def assert_the_same_run(whole: RunFolder, other: RunFolder) -> None:
    states = [training_state(run) for run in (whole, other)]
    for key in ("state_dict", "optimizer_states", "old", "replay_floor", "PromptDataModule"):
        assert_equal(states[0][key], states[1][key], key)
    callbacks = [{key: without_time(value) for key, value in s["callbacks"].items() if "Stop" not in key} for s in states]
    assert_equal(*({key: value for key, value in c.items() if not key.endswith(("Within", "Bad"))} for c in callbacks))
    for kind in Rows:
        rows = [[without_time(row) for row in run.rows(kind)] for run in (whole, other)]
        assert rows[0] == rows[1], kind
    assert without_time(whole.summary()) == without_time(other.summary())
    assert curves(whole) == curves(other)
    for tag, points in curves(whole).items():
        assert len({step for step, _ in points}) == len(points), tag
    weights = [load_file(run.path / "policy/pytorch_lora_weights.safetensors") for run in (whole, other)]
    assert_equal(weights[0], weights[1])


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_a_resumed_run_is_the_unbroken_one_to_the_bit(algorithm: str, tmp_path: Path) -> None:
    options = [*ALGORITHMS[algorithm], "callbacks=rpo_ema"]
    whole = start(tmp_path / "whole", *options)
    part = stopped(tmp_path / "part", *options, stop_before(2))
    assert part.state() | {"update": 2} == {"state": "stopped", "update": 2}
    assert part.summary() is None
    go_on(part, "callbacks.stop=null")
    assert [row["update"] for row in whole.rows(Rows.METRICS)] == [0, 1, 2, 3]
    assert_the_same_run(whole, part)
    if algorithm == "curriculum":
        assert any(training_state(whole)["PromptDataModule"]["silent"].values())


@pytest.mark.parametrize(("number", "call"), [(signal.SIGTERM, 1), (signal.SIGTERM, 3), (signal.SIGUSR1, 3)])
def test_a_signal_within_an_update_saves_the_state_before_it(number: signal.Signals, call: int, tmp_path: Path) -> None:
    """The third place is between two optimizer steps, after the first has moved the weights."""
    options = ["algorithm=diffusion_nft", "algorithm.group_size=2", "sampler=ode", "callbacks.heldout.every_n_updates=null"]
    options += ["algorithm.old_decay.slope=0.3", "callbacks.checkpoint.every_seconds=1000000", "data.choose_from=2"]
    whole = start(tmp_path / "whole", *options)
    within = f"+callbacks.stop={{_target_: tests.stops.SignalWithin, update: 2, call: {call}, number: {int(number)}}}"
    if number is signal.SIGTERM:
        part = stopped(tmp_path / "part", *options, within)
        assert list(part.checkpoints()) == [2]
        go_on(part, "callbacks.stop=null")
    else:  # goes on by itself, and then from what it saved on the way
        part = start(tmp_path / "part", *options, within, "callbacks.checkpoint.keep_every_n_updates=2")
        assert list(part.checkpoints()) == [2, 4]
        assert_the_same_run(whole, part)
        go_on(part, "checkpoint=2", "callbacks.stop=null")
    assert_the_same_run(whole, part)


def test_a_run_goes_back_to_an_earlier_checkpoint(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", "callbacks.checkpoint.keep_every_n_updates=1")
    assert set(whole.checkpoints()) == {1, 2, 3, 4, *({0} if whole.best() == 0 else set())}
    rows = whole.rows(Rows.METRICS)
    go_on(whole, "checkpoint=1", "data.updates=2")
    assert [row["update"] for row in whole.rows(Rows.METRICS)] == [0, 1]
    assert without_time(whole.rows(Rows.METRICS)[0]) == without_time(rows[0])
    assert max(whole.checkpoints()) == 2
    assert (whole.path / "checkpoints" / "abandoned_update_00004").is_dir()
    with pytest.raises(UserError, match=r"no checkpoint '9'; there are those after"):
        go_on(whole, "checkpoint=9")
    assert whole.finished()  # what could not begin changes nothing


@pytest.mark.parametrize(
    ("kind", "step", "named"),
    [
        ("latents", 1, "the rollout's latents"),
        ("grade", 1, "the rewards"),
        ("loss", 1, "the loss of step"),
        ("loss", 2, "the loss of step"),
        ("gradient", 1, "the gradient of"),
        ("gradient", 2, "the gradient of"),
    ],
)
def test_a_bad_update_is_skipped_whole_and_the_run_goes_on(kind: str, step: int, named: str, tmp_path: Path) -> None:
    """An update has two optimizer steps: its first and its last."""
    bad = f"+callbacks.bad={{_target_: tests.stops.Bad, kind: {kind}, updates: [1], step: {step}}}"
    run = start(tmp_path / "run", bad, "data.updates=3", "callbacks.checkpoint.keep_every_n_updates=1")
    states = [torch.load(run.checkpoint(update) / "state.ckpt", weights_only=True) for update in (1, 2, 3)]
    assert_equal(states[0]["state_dict"], states[1]["state_dict"])
    assert_equal(states[0]["optimizer_states"][0]["state"], states[1]["optimizer_states"][0]["state"])
    assert any(not torch.equal(value, states[2]["state_dict"][name]) for name, value in states[1]["state_dict"].items())
    assert [row["policy/skipped"] for row in run.rows(Rows.METRICS)] == [0, 1, 0]
    assert [row["policy/optimizer_steps"] for row in run.rows(Rows.METRICS)] == [2, 0, 2]
    with safe_open(run.path / "skipped/update_00001.safetensors", "pt") as file:
        assert named in file.metadata()["reason"]
    assert (run.summary() or {})["skipped_updates"] == 1


def test_a_run_without_a_signal_ends_with_what_it_may_be(tmp_path: Path) -> None:
    """Candidates of a group that are all one picture."""
    alike = ["algorithm=diffusion_nft", "algorithm.group_size=2", "sampler=ode", "sampler.shared_noise=true", "judge=oracle"]
    with pytest.raises(UserError, match=r"2 updates in a row.*sampler\.shared_noise"):
        start(tmp_path / "run", *alike, "callbacks.guard.max_silent=2")
    assert [row["reward/silent_groups"] for row in RunFolder(tmp_path / "run").rows(Rows.METRICS)] == [1.0, 1.0]


def test_a_full_disk_ends_a_run_with_one_message_and_it_goes_on_when_there_is_space(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system")
    try:
        options = ["callbacks.checkpoint.keep_every_n_updates=1", "callbacks.heldout.every_n_updates=null"]
        with pytest.raises(UserError, match=r"update_0000\d could not be written .*make space, and resume="):
            start(disk / "run", *options, "policy.adapter.rank=8", "policy.adapter.alpha=16")
        run = RunFolder(disk / "run")
        assert run.checkpoints()
        for path in run.checkpoints().values():
            assert torch.load(path / "state.ckpt", weights_only=True)["state_dict"]
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        go_on(run)
        whole = start(tmp_path / "whole", *options, "policy.adapter.rank=8", "policy.adapter.alpha=16")
        assert_the_same_run(whole, run)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_bad_updates_in_a_row_end_the_run_with_the_tensors_name(tmp_path: Path) -> None:
    bad = "+callbacks.bad={_target_: tests.stops.Bad, kind: gradient, updates: [1, 2, 3]}"
    with pytest.raises(UserError, match=r"3 updates in a row.*the gradient of .*lora"):
        start(tmp_path / "run", bad)
    run = RunFolder(tmp_path / "run")
    state = run.state()
    assert (state["state"], state["update"]) == ("failed", 4)
    assert "the gradient of" in state["error"]
    assert run.summary() is None
    for path in run.checkpoints().values():
        for tensor in torch.load(path / "state.ckpt", weights_only=True)["state_dict"].values():
            assert torch.isfinite(tensor).all()


def test_what_stands_in_metrics_is_of_its_update_alone(tmp_path: Path) -> None:
    """A skipped update has no loss, and none of the one before."""
    bad = "+callbacks.bad={_target_: tests.stops.Bad, kind: gradient, updates: [1]}"
    run = start(tmp_path / "run", bad, "data.updates=2")
    rows = run.rows(Rows.METRICS)
    assert "loss" in rows[0]
    assert "loss" not in rows[1]
    assert [step for step, _ in curves(run)["loss"]] == [0]
    assert {"time/rollout", "time/judging", "time/update", "time/images_per_second"} <= set(rows[0])
    text = json.dumps(rows, allow_nan=False)
    assert "NaN" not in text


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_stopped_run_gives_its_weights(adapter: str, tmp_path: Path) -> None:
    """Averaged ones, as the stock pipeline loads them."""
    options = [f"policy/adapter={adapter}", "callbacks=rpo_ema", "callbacks.heldout.every_n_updates=null"]
    run = stopped(tmp_path / "run", *options, stop_before(2))
    asked = configure([f"run={run.path}", "allow=[tests.stops]", f"output={tmp_path / 'out'}"], "export")
    average = training_state(run)["callbacks"]["EMA"]["average"]
    name, expected = next(iter(average.items()))
    export(asked)
    if adapter == "lora":
        policy = make_policy(adapter=instantiate(configure(["experiment=t2i_rpo"]).policy.adapter))
        policy.load_trained(tmp_path / "out")
        found = policy.adapter.parameters()[name].detach()
    else:
        found = dict(FluxPipeline.from_pretrained(tmp_path / "out").transformer.named_parameters())[name].detach()
    assert torch.equal(found, expected)
    with pytest.raises(UserError, match="is there already"):
        export(asked)
    with pytest.raises(UserError, match="no checkpoint 'best'"):
        export(configure([f"run={run.path}", "allow=[tests.stops]", "checkpoint=best"], "export"))
    with pytest.raises(UserError, match=r"no config\.yaml"):
        export(configure([f"run={tmp_path}"], "export"))
