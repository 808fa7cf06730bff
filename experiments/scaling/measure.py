"""One process against two by DDP, one thread each, in turns: seconds an update by stage.

    python -m experiments.scaling.measure [--updates 10] [--rounds 3] [--candidates 64] [--place runs/scaling] [override ...]

Three arms of `experiment=t2i_rpo`: `one` process; `two`, with the same prompts and noise; and `half`, one process with half the
candidates, which is what each of the two has to do. So `two` less `half` is what it takes to be two. Each round runs all arms
one after the other; `simulate.py here` reads what they left.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.scaling.measured import STAGES, Seconds, quartiles, read

ROOT = Path(__file__).parents[2]
QUIET = (  # nothing that is not in each update: no held-out measures, no pictures, one checkpoint
    *("callbacks.summary=null", "callbacks.heldout=null", "callbacks.image_grid=null"),
    *("callbacks.verdict_pictures=null", "data.unseen=null", "callbacks.checkpoint.every_seconds=100000"),
    *("algorithm.kl_every_n_updates=null", "trainer.enable_progress_bar=false"),
)


def arms(candidates: int) -> dict[str, list[str]]:
    return {
        "one": [f"data.candidates_per_update={candidates}"],
        "two": [f"data.candidates_per_update={candidates}", "trainer=ddp", "trainer.devices=2"],
        "half": [f"data.candidates_per_update={candidates // 2}"],
    }


def train(place: Path, name: str, overrides: Sequence[str]) -> Path:
    """One run to its end. All share the store of rubrics, so that only the first one writes any."""
    run = place / name
    command = [sys.executable, "train.py", "experiment=t2i_rpo", *QUIET, "num_threads=1", f"rubric.store={place}/rubrics"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (place / f"{name}.log").open("wb") as log:
        done = subprocess.run(
            [*command, *overrides, f"run_dir={run}"], cwd=ROOT, env=environment, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        sys.exit(f"{name}: exit code {done.returncode}\n{(place / f'{name}.log').read_text(errors='replace')[-2000:]}")
    return run


def table(found: dict[str, list[Seconds]]) -> str:
    """Median (first to third quartile) of each stage over all updates of all rounds, and the share of `one`'s seconds."""
    lines = ["| stage | " + " | ".join(found) + " | two / one |", "|---" * (len(found) + 2) + "|"]
    for stage in (*STAGES, "whole"):
        spread = {arm: quartiles([getattr(s, stage) for s in seconds]) for arm, seconds in found.items()}
        cells = [f"{middle:.2f} ({low:.2f} to {high:.2f})" for low, middle, high in spread.values()]
        lines.append(f"| {stage} | " + " | ".join(cells) + f" | {spread['two'][1] / spread['one'][1]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--place", type=Path, default=Path("runs/scaling"))
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_args()
    place: Path = asked.place.resolve()
    place.mkdir(parents=True)  # a folder of its own: runs of another commit must not mix
    more = [f"data.updates={asked.updates}", *asked.overrides]
    train(place, "warm", [*arms(asked.candidates)["one"], *more])
    found: dict[str, list[Seconds]] = {arm: [] for arm in arms(asked.candidates)}
    for number in range(asked.rounds):
        for arm, overrides in arms(asked.candidates).items():
            found[arm] += read(train(place, f"{arm}_{number}", [*overrides, *more]))
        print(f"round {number + 1} of {asked.rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
