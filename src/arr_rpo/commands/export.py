"""`python export.py run=<run folder> checkpoint=best`: the weights of a checkpoint, as the stock pipeline loads them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from arr_rpo.commands.errors import plain_errors
from arr_rpo.commands.foreign import allowed, config_of, only_files
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import POLICY, TRAINING_STATE
from arr_rpo.types import UserError


@hydra.main(version_base="1.3", config_path="pkg://arr_rpo.configs", config_name="export")
@plain_errors
def main(config: DictConfig) -> None:
    """Prints where the weights are."""
    print(export(config))


def export(config: DictConfig) -> Path:
    """A LoRA folder, or a pipeline folder where all weights were trained; of a stopped run, too. Where the run averages its
    weights, the average.

    Raises:
        UserError: there is no such run or checkpoint, or something is in the way.
    """
    run = RunFolder(config.run)
    trained = config_of(run.path, "run", allowed(config), needs=("policy",))
    checkpoint = run.checkpoint(config.checkpoint)
    only_files(checkpoint)
    output = Path(config.output or run.path / "exports" / checkpoint.name)
    if output.exists():
        raise UserError(f"output={output} is there already: remove it, or give another folder")
    with RunFolder(output.parent).whole(output.name) as folder:
        if (checkpoint / POLICY).is_dir():
            shutil.copytree(checkpoint / POLICY, folder, dirs_exist_ok=True)
        else:
            save_trained(trained, checkpoint, folder)
    return output


def save_trained(trained: DictConfig, checkpoint: Path, folder: Path) -> None:
    """Builds the run's policy and gives it the checkpoint's weights."""
    policy = instantiate(trained.policy)
    state: dict[str, Any] = torch.load(checkpoint / TRAINING_STATE, weights_only=True, map_location="cpu")
    weights = {name.removeprefix("policy.transformer."): value for name, value in state["state_dict"].items()}
    weights |= state["callbacks"].get("EMA", {}).get("average", {})
    with torch.no_grad():
        for name, p in policy.adapter.parameters().items():
            p.copy_(weights[name])
    policy.adapter.save(folder)
