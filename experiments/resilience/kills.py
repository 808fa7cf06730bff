"""One run, killed 20 times at random moments, beside the same run undisturbed: are weights, rows, curves and summary the same?

python experiments/resilience/kills.py [--kills 20] [--seed 1] [--folder /tmp/kills]
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import Rows

NOT_COMPARED = ("time/", "memory/", "seconds")  # a process that went on has encoded other prompts
ROOT = Path(__file__).parents[2]
RUN = [
    *("experiment=t2i_rpo", "judge=random", "reward=pairwise", "callbacks=rpo_ema", "algorithm=diffusion_nft", "sampler=ode"),
    *("algorithm.group_size=2", "data.updates=240", "data.candidates_per_update=16", "data.unseen=null"),
    *("callbacks.heldout.every_n_updates=40", "callbacks.heldout.prompts=8"),
    *("callbacks.checkpoint.every_seconds=0", "callbacks.heldout.final_kl_prompts=4", "trainer.enable_progress_bar=false"),
]


def command(folder: Path, resume: bool) -> list[str]:
    if resume:
        return [sys.executable, "train.py", f"resume={folder}", "trainer.enable_progress_bar=false"]
    return [sys.executable, "train.py", *RUN, f"hydra.run.dir={folder}"]


def without_time(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_time(v) for key, v in value.items() if not key.startswith(NOT_COMPARED)}
    return value


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith(NOT_COMPARED)]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def same(a: Any, b: Any) -> bool:
    """Whether two nested states are one to the bit, all but times."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if not str(key).startswith(NOT_COMPARED))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--folder", type=Path, default=Path("/tmp/kills"))
    given = options.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    whole, killed = RunFolder(given.folder / "whole"), RunFolder(given.folder / "killed")
    subprocess.run(command(whole.path, resume=False), cwd=ROOT, check=True)
    moments, kills, within_a_save = random.Random(given.seed), 0, 0
    while not killed.finished():
        begun = bool(killed.checkpoints())
        if not begun:
            shutil.rmtree(killed.path, ignore_errors=True)
        before = max(killed.checkpoints(), default=0)
        with subprocess.Popen(command(killed.path, resume=begun), cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            while kills < given.kills and process.poll() is None and max(killed.checkpoints(), default=0) <= before:
                time.sleep(0.01)  # the start is not what is tested: let it come to its first new checkpoint
            if kills < given.kills:
                time.sleep(moments.uniform(0, 2))
                process.kill()
                kills += 1
            code = process.wait()
        halves = list((killed.path / "checkpoints").glob(".*"))
        within_a_save += bool(halves)
        print(f"kill {kills}, exit {code}: checkpoints {list(killed.checkpoints())[-1:]}, half saves {len(halves)}", flush=True)
    found: dict[str, bool] = {
        "weights": same(*(load_file(r.path / "policy/pytorch_lora_weights.safetensors") for r in (whole, killed))),
        **{
            kind.value: [without_time(r) for r in whole.rows(kind)] == [without_time(r) for r in killed.rows(kind)]
            for kind in Rows
        },
        "summary": without_time(whole.summary()) == without_time(killed.summary()),
        "curves": curves(whole.path) == curves(killed.path),
        "training state": same(*(torch.load(r.checkpoint() / "state.ckpt", weights_only=True) for r in (whole, killed))),
    }
    print(f"{kills} kills, {within_a_save} of them within a save; the same: {found}")
    raise SystemExit(not all(found.values()))


if __name__ == "__main__":
    main()
