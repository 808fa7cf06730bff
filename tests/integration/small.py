"""A whole run of `train.py` that takes seconds, for tests of what runs do and leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from arr_rpo.commands.runs.training import train
from arr_rpo.run.folder import RunFolder
from tests.conftest import configure

HELDOUT = Path(__file__).parents[2] / "src/arr_rpo/shapes/data/heldout.jsonl"
TRAIN = Path(__file__).parents[2] / "src/arr_rpo/shapes/data/train.jsonl"
SMALL = [
    "experiment=t2i_rpo",
    "judge=random",
    "reward=pairwise",
    "data.updates=4",
    "data.candidates_per_update=8",
    "data.unseen=null",
    "policy.num_inference_steps=3",
    "callbacks.heldout.final_kl_prompts=2",
    "callbacks.heldout.pictures=2",
    "callbacks.heldout.every_n_updates=2",
    "callbacks.heldout.prompts=4",
    "callbacks.heldout.kl_prompts=2",
    "callbacks.checkpoint.every_seconds=0",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
]
NOT_COMPARED = ("time/", "memory/", "seconds")  # a process that went on has encoded other prompts


def start(folder: Path, *overrides: str) -> RunFolder:
    """Runs it, in a folder beside which its prompts are written."""
    heldout = folder.parent / "heldout.jsonl"
    heldout.write_text("\n".join(HELDOUT.read_text(encoding="utf-8").splitlines()[::64]), encoding="utf-8")
    few = folder.parent / "train.jsonl"  # the same prompts come again in the next update
    few.write_text("\n".join(TRAIN.read_text(encoding="utf-8").splitlines()[:8]), encoding="utf-8")
    chosen = [f"data.train={few}"] if "data.choose_from=2" in overrides else []
    train(configure([*SMALL, f"run_dir={folder}", f"data.heldout={heldout}", *chosen, *overrides]))
    return RunFolder(folder)


def without_time(value: Any) -> Any:
    """What is the same in two runs of one computation."""
    if isinstance(value, dict):
        return {key: without_time(v) for key, v in value.items() if not key.startswith(NOT_COMPARED)}
    return value


def training_state(run: RunFolder) -> dict[str, Any]:
    return torch.load(run.checkpoint() / "state.ckpt", weights_only=True)  # type: ignore[no-any-return]
