"""Seconds in which two processes of this machine add up the gradients of a LoRA, by gloo.

python experiments/scaling/exchange.py [--numbers 778240]     # float32 numbers; default: those of the embedded policy's LoRA
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from arr_rpo.algorithm.gradients import add_up

REPEATS = 30


def process(number: int, store: str, numbers: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    weights = nn.Parameter(torch.zeros(numbers))
    seconds = []
    for _ in range(REPEATS):
        weights.grad = torch.ones(numbers)
        dist.barrier()
        begun = time.perf_counter()
        add_up([weights], bad=False)
        seconds.append(time.perf_counter() - begun)
    if number == 0:
        print(f"{numbers} numbers: {statistics.median(seconds):.4f} s (median of {REPEATS})")
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=778_240)
    with tempfile.TemporaryDirectory() as folder:
        spawn(process, (f"{folder}/store", parser.parse_args().numbers), nprocs=2)


if __name__ == "__main__":
    main()
