"""Does a long run keep its size? Resident memory and the encodings that are kept, over 300 updates and 2,000 distinct prompts.

    python experiments/memory/measure.py [--arms bounded unbounded released] [--updates 300] [--prompts 2000]

Each arm is one run of `train.py` with the embedded policy and a judge that throws a coin; its resident memory is read from
outside, every ten updates, and written beside what the run says of its encodings in `metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MIB = 2**20
COUNTS = ("memory/encodings_device_mib", "memory/encodings_host_mib", "memory/encodings_disk_mib")
ARMS = {  # GiB: a prompt takes about 0.05 MiB
    "bounded": ("policy.encodings.device_gib=0.002", "policy.encodings.host_gib=0.008"),
    "unbounded": ("policy.encodings.device_gib=64", "policy.encodings.host_gib=64"),  # as it was without limits
    "released": ("policy.encodings.device_gib=0.002", "policy.encodings.host_gib=0.008", "policy.release_text_encoders=true"),
}
RUN = (
    "experiment=t2i_rpo",
    "judge=random",
    "reward=pairwise",
    "data.unseen=null",
    "data.candidates_per_update=14",  # seven prompts
    "policy.num_inference_steps=3",
    "policy.call.max_sequence_length=128",  # longer than the prompts are, for encodings that weigh something
    "trainer.enable_progress_bar=false",
    "callbacks.heldout.every_n_updates=null",
    "callbacks.image_grid=null",
    "callbacks.verdict_pictures=null",
    "num_threads=1",
)


def measure(arm: str, updates: int, prompts: int, folder: Path) -> Iterator[dict[str, object]]:
    """A row every ten updates of a run of `arm` in `folder`."""
    train, heldout, run = folder / "train.txt", folder / "heldout.txt", folder / "run"
    train.write_text("".join(f"a photo of scene {number}\n" for number in range(prompts)), encoding="utf-8")
    heldout.write_text("".join(f"a picture of scene {number}\n" for number in range(4)), encoding="utf-8")
    own = [f"data.train={train}", f"data.heldout={heldout}", f"data.updates={updates}", f"run_dir={run}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "train.py", *RUN, *ARMS[arm], *own, f"hydra.run.dir={run}"]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=HERE.parents[1], env=environment, stdout=log, stderr=log)
        known, running = 0, True
        try:
            while running:
                running = process.poll() is None
                lines = metrics(run / "metrics.jsonl")
                for record in lines[known:]:
                    if running and record["update"] % 10 == 0:
                        sizes = {key.removeprefix("memory/"): record.get(key) for key in COUNTS}
                        yield {"arm": arm, "update": record["update"], "rss_mib": resident(process.pid), **sizes}
                known = len(lines)
                time.sleep(0.1)
        finally:
            process.terminate()  # where this script was stopped; nothing where the run has ended
    if process.returncode or not known:
        raise SystemExit(
            f"{arm}: the run ended with {process.returncode} and {known} updates in metrics.jsonl:\n{tail(folder)}"
        )


def metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines that name an update."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [record for record in map(json.loads, lines) if "update" in record]


def resident(pid: int) -> float | None:
    """MiB, or None when the process has just ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return round(int(found[0]) * 1024 / MIB, 1) if found else None


def tail(folder: Path) -> str:
    return "\n".join((folder / "log.txt").read_text(errors="replace").splitlines()[-15:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--csv", type=Path, default=HERE / "results.csv")
    given = parser.parse_args()
    with given.csv.open("w", newline="", encoding="utf-8") as file:
        names = ["arm", "update", "rss_mib", *(key.removeprefix("memory/") for key in COUNTS)]
        table = csv.DictWriter(file, names)
        table.writeheader()
        for arm in given.arms:
            with tempfile.TemporaryDirectory() as folder:
                for row in measure(arm, given.updates, given.prompts, Path(folder)):
                    table.writerow(row)
                    file.flush()
                    print(row, flush=True)


if __name__ == "__main__":
    main()
