"""Run folders that somebody sent: what their configs name is refused by name before anything of it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.export import export
from arr_rpo.commands.runs.finished import finished_run, with_policy_of_run
from arr_rpo.commands.runs.foreign import config_of
from arr_rpo.commands.runs.resume import resumed
from arr_rpo.commands.runs.training import recorded
from arr_rpo.run.folder import RunFolder
from arr_rpo.types import UserError
from tests import warm
from tests.conftest import configure
from tests.hostile import brackets, device, fifo

ROOT = Path(__file__).parents[3]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "configs/experiment").glob("*.yaml"))
GET = "hydra.utils.get_method"


def sent(folder: Path, changes: dict[str, Any]) -> Path:
    """The folder of a run as train.py leaves it, but for the changed keys, in a shape that every command would go on with."""
    config = OmegaConf.create(recorded(configure(["experiment=t2i_rpo", f"run_dir={folder}"])))
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    for name in ("policy", "checkpoints/update_00001"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints/update_00001/state.ckpt").touch()
    RunFolder(folder).text("config.yaml", OmegaConf.to_yaml(config))
    return folder


def to_export(folder: Path) -> DictConfig:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose("export", overrides=[f"run={folder}"])


COMMANDS: dict[str, Callable[[Path], Any]] = {
    "evaluate": lambda folder: finished_run(folder, ()),
    "refine": lambda folder: with_policy_of_run(OmegaConf.create({"run": str(folder), "allow": [], "base": False}), []),
    "export": lambda folder: export(to_export(folder)),
    "resume": lambda folder: resumed(str(folder), []),
}


def told(command: str, folder: Path) -> str:
    """What a command that goes on with the folder says against it."""
    with pytest.raises(UserError) as error:
        COMMANDS[command](folder)
    return str(error.value)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_runs_of_our_own_configs_may_go_on(experiment: str, tmp_path: Path) -> None:
    config = configure([f"experiment={experiment}", f"run_dir={tmp_path}"])
    RunFolder(tmp_path).text("config.yaml", recorded(config))
    assert config_of(tmp_path, "run", ()) == OmegaConf.load(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("key", "value", "refused"),
    [
        ("policy._target_", "os.system", "policy: os.system"),
        ("policy.sampler", {"_target_": "asyncio.run", "main": {"_target_": "x"}}, "policy.sampler: asyncio.run"),
        ("data.train", {"_target_": "setuptools._distutils.spawn.spawn", "cmd": ["touch", "x"]}, "data.train: setuptools"),
        ("policy.load", {"a": {"_target_": "torch.load", "f": "x", "weights_only": False}}, "policy.load.a: torch.load"),
        ("data.seed", {"_target_": "functools.partial", "_args_": [{"_target_": "os.getcwd"}]}, "data.seed: functools.partial"),
        ("policy.call", {"_target_": "builtins.eval", "_partial_": True, "_args_": ["1"]}, "policy.call: builtins.eval"),
        ("policy.after_load", [[{"_target_": "subprocess.Popen", "args": "x"}]], "policy.after_load.0.0: subprocess.Popen"),
        ("policy.after_load", [{"_target_": GET, "path": "os.system"}], "policy.after_load.0: os.system"),
        ("policy.after_load", [{"_target_": GET, "_args_": ["os.system"]}], "policy.after_load.0: os.system"),
        ("policy.after_load", [{"_target_": "hydra.utils.get_object", "path": "os.system"}], "hydra.utils.get_object"),
        ("policy.call", {"_target_": "arr_rpo.scorer.function.scored", "score": "evil.score"}, "policy.call: evil.score"),
        ("policy.call", {"_target_": "arr_rpo.scorer.function.scored", "_args_": ["evil.score"]}, "policy.call: evil.score"),
        ("policy.call", {"_target_": "arr_rpo.scorer.function.FunctionScorer", "function": "${name}"}, "policy.call: ${name}"),
        # what our own modules have imported, and functions, which may do anything with their arguments
        ("policy.call", {"_target_": "arr_rpo.run.provenance.subprocess.run", "args": "x"}, "provenance.subprocess.run"),
        ("policy.call", {"_target_": "arr_rpo.run.provenance.git", "_args_": ["x"]}, "arr_rpo.run.provenance.git"),
        ("policy.call", {"_target_": "arr_rpo.judge.vlm.Path"}, "arr_rpo.judge.vlm.Path"),
        # code that lies beside weights
        ("policy.load", {"trust_remote_code": True}, "policy.load.trust_remote_code: trust_remote_code"),
        ("policy.load", {"custom_pipeline": "./mine"}, "policy.load.custom_pipeline: custom_pipeline"),
        # names that come to be when they are read
        ("policy._target_", "${name}", "policy: ${name}"),
        ("policy._target_", ["os.system"], "policy: ['os.system']"),
        ("policy.call", "${oc.create:{_target_: os.system}}", "policy.call: oc.create"),
        ("policy.call", "${oc.select:none,{_target_: os.system}}", "policy.call: {_target_: os.system}"),
        ("policy.call", "${oc.decode:'{_target_: os.system}'}", "policy.call: oc.decode"),
        ("policy.checkpoint", "${ oc.env:HOME}", "policy.checkpoint: oc.env"),
        ("policy.checkpoint", "${${name}.env:HOME}", "policy.checkpoint: ${name}.env"),
        ("policy.checkpoint", "${name}" * 1000, "policy.checkpoint: more than 20 references"),
    ],
)
def test_what_is_not_of_this_package_is_refused_by_name(tmp_path: Path, key: str, value: Any, refused: str) -> None:
    sent(tmp_path, {key: value})
    for command in COMMANDS:
        said = told(command, tmp_path)
        assert refused in said
        assert "allow=[" in said


def test_what_the_user_allows_is_not_refused(tmp_path: Path) -> None:
    folder = sent(
        tmp_path, {"reward._target_": "mine.rewards.Mine", "allow": ["os.system"], "policy.call": {"_target_": "os.system"}}
    )
    with pytest.raises(
        UserError, match=r"policy\.call: os\.system"
    ) as error:  # what the folder allows itself counts for nothing
        config_of(folder, "run", ["mine"])
    assert "mine" not in str(error.value)
    assert config_of(folder, "run", ["mine.rewards.Mine", "os.system"]).policy.call._target_ == "os.system"
    with pytest.raises(UserError, match=r"reward: mine\.rewards\.Mine"):
        config_of(folder, "run", ["min", "os"])


def test_a_run_of_before_goes_on_by_todays_names(tmp_path: Path) -> None:
    """What it named then is not refused, and is what it is called now; what is gone is refused with where to find it."""
    measure = {"shapes": {"_target_": "arr_rpo.shapes.measure.ShapesOracle"}}
    loss = {"_target_": GET, "path": "arr_rpo.algorithm.losses.step_kl"}
    folder = sent(tmp_path, {"callbacks.heldout.measures": measure, "algorithm.objective.kl": loss})
    for config in (finished_run(folder), resumed(str(folder), [])):
        assert config.callbacks.heldout.measures.shapes._target_ == "arr_rpo.shapes.oracles.measure.ShapesOracle"
        assert config.algorithm.objective.kl.path == "arr_rpo.formulas.losses.step_kl"
    sent(tmp_path, {"reward._target_": "arr_rpo.reward.scalar.Scalar"})
    assert "reward: arr_rpo.reward.scalar.Scalar (arr_rpo.... may be of another version: versions.json" in told(
        "evaluate", tmp_path
    )


def bomb(path: Path) -> None:
    levels = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    path.write_text(f"a: &a [1]\n{levels}", encoding="utf-8")


@pytest.mark.parametrize("kind", [fifo, device, brackets, bomb])
def test_a_config_that_is_none(tmp_path: Path, kind: Any) -> None:
    sent(tmp_path, {})
    (tmp_path / "config.yaml").unlink()
    kind(tmp_path / "config.yaml")
    for command in COMMANDS:
        assert ("no config.yaml there" if kind in (fifo, device) else "config.yaml cannot be read") in told(command, tmp_path)


@pytest.mark.parametrize("kind", [fifo, device])
def test_weights_that_are_none(tmp_path: Path, kind: Any) -> None:
    sent(tmp_path, {})
    kind(tmp_path / "policy/pytorch_lora_weights.safetensors")
    (tmp_path / "checkpoints/update_00001/state.ckpt").unlink()
    kind(tmp_path / "checkpoints/update_00001/state.ckpt")
    assert "pytorch_lora_weights.safetensors" in told("evaluate", tmp_path)
    assert "pytorch_lora_weights.safetensors" in told("refine", tmp_path)
    assert "state.ckpt" in told("export", tmp_path)


@pytest.mark.parametrize("kind", [fifo, device, brackets])
@pytest.mark.parametrize("name", ["state.json", "summary.json", "versions.json", "checkpoints/best.json", "metrics.jsonl"])
def test_what_a_run_says_of_itself_may_be_unreadable(tmp_path: Path, name: str, kind: Any) -> None:
    sent(tmp_path, {})
    kind(tmp_path / name)
    run = RunFolder(tmp_path)
    assert (run.state(), run.summary(), run.best(), run.finished()) == ({}, None, None, False)
    assert len(run.checkpoints()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate run=", "refine run=", "export run=", "train resume="])
def test_as_a_user_meets_it(tmp_path: Path, command: str) -> None:
    touched = tmp_path / "touched"
    folder = sent(tmp_path / "run", {"policy": {"_target_": "os.system", "command": f"touch {touched}"}})
    verb, option = command.split()
    log = f"hydra.run.dir={tmp_path / 'hydra'}"
    code, said = warm.done(tmp_path / "log", "-m", "arr_rpo.commands", verb, f"{option}{folder}", log, folder=tmp_path)
    assert code == 1
    assert "names what is not of this package: policy: os.system" in said
    assert "Traceback" not in said
    assert not touched.exists()
