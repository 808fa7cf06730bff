"""What each part of an update takes, how that grows with the work, and what a run keeps in memory and needs to start.

    python benchmarks/stages.py [--only memory stages judging growth start] [--repeats 3] [--threads 2]

Embedded policy and judge of `experiment=t2i_rpo`; medians over repeats, each with other noise, after one to warm up.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from arr_rpo.commands.cli.quiet import quieten
from arr_rpo.noise import Noise
from arr_rpo.types import Prompt, Rollout, Rubric

ROOT = Path(__file__).parents[1]
REWARDS = ("pairwise", "rubric", "criteria", "checklist", "scalar", "fixed_five", "rational", "delta_rubric")


def composed(*overrides: str) -> Any:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose("train", ["experiment=t2i_rpo", "run_dir=unused", *overrides])


class World:
    """The embedded policy and judge, 64 prompts with rubrics, a rollout."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        config = composed()
        self.policy, self.judge = instantiate(config.policy), instantiate(config.judge)
        self.prompts: tuple[Prompt, ...] = instantiate(config.data).train[:128]
        self.policy.generate(self.prompts, seed=0)
        self.rubrics: list[Rubric | None] = instantiate(config.callbacks.rubric_reward.rubric).rubrics(self.prompts, self.judge)

    def rollout(self, prompts: int, group_size: int = 2, update: int = 0) -> Rollout:
        rollout: Rollout = self.policy.rollout(self.prompts[:prompts], group_size, Noise(1, update))
        return rollout

    def update(self, rollout: Rollout, steps: int) -> None:
        """Forward and backward passes of `steps` timesteps of all candidates."""
        rows = torch.arange(len(rollout.images))
        with self.policy.conditioning_kept():
            for step in range(steps):
                self.policy.replay(rollout, rows, step).log_probs_B.sum().backward()

    def seconds(self, work: Callable[[int], Any]) -> tuple[float, float, float]:
        """Median, least and most."""
        work(0)
        taken = []
        for number in range(1, self.repeats + 1):
            begun = time.perf_counter()
            work(number)
            taken.append(time.perf_counter() - begun)
        return statistics.median(taken), min(taken), max(taken)


def said(name: str, found: tuple[float, float, float], more: str = "") -> None:
    print(f"{name:42} {found[0]:6.2f} s ({found[1]:.2f} to {found[2]:.2f}){more}", flush=True)


def stages(world: World) -> None:
    """Of 128 images: 64 prompts, two candidates each."""
    rollout = world.rollout(64)
    world.policy.find_short_way(rollout)
    said("rollout, 128 images, 8 steps", world.seconds(lambda k: world.rollout(64, update=k)))
    said("update, 7 timesteps", world.seconds(lambda _: world.update(rollout, 7)))
    said("evaluation, 128 images", world.seconds(lambda k: world.policy.generate(world.prompts[:128], seed=k)))


def judging(world: World) -> None:
    """Verdicts on 128 images by protocol, also of groups of four; a checklist by its length."""
    for name in REWARDS:
        for group_size in (2, 4):
            reward = instantiate(composed(f"reward={name}").callbacks.rubric_reward.reward)
            rollouts = [world.rollout(128 // group_size, group_size, k) for k in range(world.repeats + 1)]
            rubrics = world.rubrics[: 128 // group_size]
            calls = reward(world.judge, rollouts[0], rubrics).cost.calls
            found = world.seconds(
                lambda k, rollouts=rollouts, rubrics=rubrics, reward=reward: reward(world.judge, rollouts[k], rubrics)
            )
            said(f"judging, {name}, groups of {group_size}", found, f"  {calls} calls")
    checklist = instantiate(composed("reward=checklist").callbacks.rubric_reward.reward)
    rollouts = [world.rollout(64, 2, k) for k in range(world.repeats + 1)]
    for criteria in (1, 2, 3):
        cut = [Rubric(r.criteria[:criteria], r.provenance) if r else None for r in world.rubrics[:64]]
        said(
            f"judging, checklist, {criteria} criteria at most",
            world.seconds(lambda k, cut=cut: checklist(world.judge, rollouts[k], cut)),
        )


def growth(world: World) -> None:
    """Of an update's passes, against the smallest size: 1.00 of linear growth is twice the time for twice the work."""
    world.policy.find_short_way(world.rollout(2))
    for what, sizes in (("prompts", (16, 32, 64, 128)), ("candidates a prompt", (2, 4, 8, 16)), ("steps", (1, 2, 4, 7))):
        first = None
        for size in sizes:
            prompts = size if what == "prompts" else 16 if what == "candidates a prompt" else 64
            rollout = world.rollout(prompts, size if what == "candidates a prompt" else 2)
            steps = size if what == "steps" else 7
            found = world.seconds(lambda _, rollout=rollout, steps=steps: world.update(rollout, steps))
            first = first or found[0] / size
            said(f"update, {size} {what}", found, f"  {found[0] / size / first:.2f} of linear growth")


def memory(world: World) -> None:
    """Peak resident memory, which never falls: read after each size."""
    for prompts in (16, 32, 64, 128):
        world.update(world.rollout(prompts), 7)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory after an update of {2 * prompts:3} images {peak:9.0f} MiB", flush=True)


def start(world: World) -> None:
    """Of commands: help, a misspelt key, and the main job from its start to the end of its first update."""

    def command(*arguments: str) -> None:
        subprocess.run([sys.executable, "train.py", *arguments], cwd=ROOT, capture_output=True, check=False)

    def first_update(number: int) -> None:
        folder = Path(tempfile.mkdtemp()) / "run"
        arguments = ["train.py", "experiment=t2i_rpo", f"hydra.run.dir={folder}"]
        with subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and not (folder / "metrics.jsonl").exists():
                time.sleep(0.05)
            process.kill()

    said("train.py --help", world.seconds(lambda _: command("--help")))
    said("a misspelt key", world.seconds(lambda _: command("experiment=t2i_rpo", "polcy=shapes")))
    said("the main job, to the end of update 1", world.seconds(first_update))


PARTS: dict[str, Callable[[World], None]] = {
    "memory": memory,  # first, as the peak never falls
    "stages": stages,
    "judging": judging,
    "growth": growth,
    "start": start,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    quieten()
    world = World(given.repeats)
    for name in given.only:
        PARTS[name](world)


if __name__ == "__main__":
    main()
