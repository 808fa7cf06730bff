"""`python experiments/scaling/loading.py`: what a second process on a machine adds to its memory by loading the same weights.

A FLUX transformer of random weights in bfloat16 is saved; two processes load it as `policy.loading` does (diffusers'
`from_pretrained`, in the dtype of the file), read every weight, and say which of their memory they share (/proc, Linux).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        size = {"num_layers": 4, "num_single_layers": 8, "attention_head_dim": 64, "num_attention_heads": 16}
        model = FluxTransformer2DModel(
            **size, in_channels=16, joint_attention_dim=256, pooled_projection_dim=64, axes_dims_rope=(16, 24, 24)
        )
        model.to(torch.bfloat16).save_pretrained(folder)
        os.sync()  # pages that still wait to be written count as nobody's to share
        print(f"weights: {sum(p.numel() for p in model.parameters()) * 2 / 2**20:.0f} MiB")
        for several in (1, 2):
            processes = [
                subprocess.Popen([sys.executable, __file__, folder, str(several)], stdout=subprocess.PIPE)
                for _ in range(several)
            ]
            for number, process in enumerate(processes):
                print(f"{several} at once, process {number}: {process.communicate()[0].decode().strip()}")


def load(folder: str, several: int) -> None:
    before = memory()
    model = FluxTransformer2DModel.from_pretrained(folder, torch_dtype=torch.bfloat16, local_files_only=True)
    with torch.no_grad():
        read = sum(float(p.float().sum()) for p in model.parameters())
    (Path(folder) / f"loaded_{os.getpid()}").touch()
    while len(list(Path(folder).glob("loaded_*"))) < several + (several > 1):  # the first round's file stays
        time.sleep(0.2)
    time.sleep(2)
    after = memory()
    added = {name: after[name] - before[name] for name in after}
    print(f"{added['Rss']} MiB more in memory, {added['Anonymous']} of them its own (sum of weights {read:.0f})")


def memory() -> dict[str, int]:
    """MiB."""
    text = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    return {name: int(kib) // 1024 for name, kib in re.findall(r"(Rss|Anonymous):\s+(\d+) kB", text)}


if __name__ == "__main__":
    load(sys.argv[1], int(sys.argv[2])) if len(sys.argv) > 1 else main()
