"""Who draws for a command: a run's policy, what it began with, or another; and with which steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.runs.finished import painter, with_policy_of_run
from arr_rpo.commands.runs.processes import one_process
from arr_rpo.commands.runs.training import recorded
from arr_rpo.run.folder import RunFolder
from arr_rpo.types import UserError
from tests.conftest import configure


def finished(folder: Path, **changes: Any) -> Path:
    config = OmegaConf.create(recorded(configure(["experiment=t2i_rpo", f"run_dir={folder}"])))
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    (folder / "policy").mkdir(parents=True)
    RunFolder(folder).text("config.yaml", OmegaConf.to_yaml(config))
    return folder


def command(*overrides: str) -> DictConfig:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("generate", overrides=["output=x", "prompts=y", *overrides])
    return with_policy_of_run(config, overrides)


def test_a_run_draws_as_its_held_out_pictures_were_drawn_unless_told_otherwise(tmp_path: Path) -> None:
    drawing = {"num_inference_steps": 28, "call": {"guidance_scale": 4.0, "height": 64}}
    run = finished(tmp_path / "run", callbacks__heldout__drawing=drawing, policy__num_inference_steps=8)
    policy = command(f"run={run}").policy
    assert policy.num_inference_steps == 28
    assert (policy.call.guidance_scale, policy.call.height) == (4.0, 64)
    told = command(f"run={run}", "drawing.num_inference_steps=50", "+drawing.call.height=96", "drawing.batch_size=3").policy
    assert (told.num_inference_steps, told.call.height, told.call.guidance_scale, told.batch_size) == (50, 96, 4.0, 3)
    alone = command("policy=shapes", "drawing.num_inference_steps=50").policy
    assert alone.num_inference_steps == 50
    with pytest.raises(UserError, match=r"leave .policy.batch_size=3 out .drawing"):
        command(f"run={run}", "+policy.batch_size=3")


class Stub:
    """A policy that says what is done with it."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.loaded = settings, False

    def load_trained(self, folder: Path) -> None:
        self.loaded = True

    def to(self, device: str) -> Stub:
        return self


@pytest.mark.parametrize("base", [False, True])
def test_base_draws_as_the_run_with_what_it_began_with(base: bool, tmp_path: Path) -> None:
    run = finished(tmp_path / "run", policy__adapter__start_from="earlier")
    config = command(f"run={run}", f"base={base}")
    assert config.policy.adapter.start_from == ("earlier" if base else None)
    config.policy = {"_target_": f"{__name__}.Stub", "release_text_encoders": True}
    policy: Any = painter(config, None)
    assert policy.loaded is not base
    assert policy.settings == {"release_text_encoders": False}  # nobody knows what they will be asked
    with pytest.raises(UserError, match="base=true is what a run began with"):
        command("policy=shapes", "base=true")


def test_what_does_not_share_its_work_out_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    one_process("refine")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(UserError, match="refine is one process: start it without torchrun or srun"):
        one_process("refine")
