"""`arr-rpo export run=<run folder> checkpoint=best format=comfyui`: a checkpoint's weights as other programs load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.cli.entry import entry
from arr_rpo.commands.cli.quiet import quieten
from arr_rpo.commands.runs.foreign import allowed, config_of, only_files
from arr_rpo.export.formats import Merged
from arr_rpo.export.model_card import write_card
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import POLICY, TRAINING_STATE
from arr_rpo.types import UserError

PIPELINES = ("diffusers", "merged")  # what can be had of a run that trained all weights: its pipeline, which is both


@entry(
    "export",
    {
        "run=runs/...": "the run",
        "checkpoint=best": "which weights: last, best, or a number of updates",
        "format=comfyui": "for whom (docs/export.md)",
    },
)
def main(config: DictConfig) -> None:
    """Prints where the weights are."""
    print(export(config))


def export(config: DictConfig) -> Path:
    """A folder with weights, model card and some pictures; of a stopped run, too. Where the run averages its weights, the
    average.

    Raises:
        UserError: there is no such run or checkpoint, something is in the way, or the format is of no use for these weights.
    """
    run = RunFolder(config.run)
    trained = config_of(run.path, "run", allowed(config), needs=("policy",))
    checkpoint = run.checkpoint(config.checkpoint)
    only_files(checkpoint)
    how = instantiate(config.format)
    name = checkpoint.name if how.name == "diffusers" else f"{checkpoint.name}_{how.name}"
    output = Path(config.output or run.path / "exports" / name)
    if output.exists():
        raise UserError(f"output={output} is there already: remove it, or give another folder")
    quieten()
    said: Any = OmegaConf.to_container(trained, resolve=True)
    lora = (checkpoint / POLICY).is_dir()
    if not lora and how.name not in PIPELINES:
        raise UserError(f"format={how.name} writes a LoRA, and this run trained all weights: take format=diffusers, a pipeline")
    with RunFolder(output.parent).whole(output.name) as folder:
        if lora:
            how.write(checkpoint / POLICY, {**said["policy"], "load": _loaded(trained) if how.name == "merged" else {}}, folder)
        else:
            save_trained(trained, checkpoint, folder)
        write_card(
            run,
            checkpoint,
            said,
            folder,
            usage=how.usage if lora else Merged.usage,
            relation="adapter" if lora and how.name != "merged" else "finetune",
            license=config.license,
            resampling=instantiate(config.resampling),
        )
    return output


def _loaded(trained: DictConfig) -> dict[str, Any]:
    """What the run's pipeline was loaded with, such as a transformer of a file of its own, in whole numbers."""
    said: Any = OmegaConf.to_container(trained, resolve=True)
    load = {key: value for key, value in (said["policy"].get("load") or {}).items() if key != "quantization_config"}
    return dict(instantiate(load))


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
