"""`arr-rpo generate benchmark=<name> prompts=<its file> policy=...|run=... output=<folder>`: pictures for an official scorer.

What is there already is not drawn again. With `--check` nothing is drawn: the folder is read as the scorer reads it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.progress import Progress

from arr_rpo import ranks
from arr_rpo.benchmark import manifest
from arr_rpo.benchmark.drawing import draw
from arr_rpo.benchmark.items import PictureFile
from arr_rpo.benchmark.layout import Layout
from arr_rpo.benchmark.scorers import OfficialScorer, companion_findings, sizes_by_source
from arr_rpo.commands.cli.entry import entry
from arr_rpo.commands.cli.quiet import quieten
from arr_rpo.commands.runs.finished import painter, with_policy_of_run
from arr_rpo.commands.runs.training import versions
from arr_rpo.run.folder import RunFolder
from arr_rpo.types import UserError

OF_POLICY = (
    *("_target_", "checkpoint", "dtype", "num_inference_steps", "call", "scheduler", "load", "after_load", "max_source_side"),
)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's files under one output folder."""

    layout: Layout
    scorer: OfficialScorer
    files: Sequence[PictureFile]
    model: str
    missing_companion: str

    @classmethod
    def of(cls, config: DictConfig) -> Benchmark:
        """Of a command's config: `benchmark`, `name`, `limit`.

        Raises:
            UserError: the prompt file cannot be read, or gives names that no file can have.
        """
        items = instantiate(config.benchmark.prompts)
        items = items if config.limit is None else items[: config.limit]
        layout, scorer = instantiate(config.benchmark.layout, _convert_="all"), instantiate(config.benchmark.scorer)
        files = layout.files(items, config.name)
        scorer.refuse(files)
        return cls(layout, scorer, files, config.name, config.benchmark.missing_companion)

    def findings(self, output: Path, size: Sequence[int] | None) -> list[str]:
        """What the scorer would miss in a folder; `size` of one picture in pixels, width and height."""
        side = self.layout.grid
        if size:
            sizes = {file.path: (size[0] * side, size[1] * side) for file in self.files}
        else:
            sizes = sizes_by_source(output, self.files)
        found = list(self.scorer.findings(output, self.files, sizes))
        for item in {file.item.key: file.item for file in self.files}.values():
            paths = [path for path, _ in self.layout.companions(item, self.model)]
            found += companion_findings(output, paths, self.missing_companion)
        return list(dict.fromkeys(found))


def main() -> None:
    """`--check` is `check=true`, which Hydra's own command line has no flag for."""
    sys.argv = ["check=true" if argument == "--check" else argument for argument in sys.argv]
    command()


@entry(
    "generate",
    {
        "benchmark=geneval prompts=FILE": "which benchmark, and its own prompt file",
        "policy=flux1_dev or run=runs/...": "who draws",
        "output=FOLDER": "where; --check reads what is there as the scorer does",
    },
)
def command(config: DictConfig) -> None:
    """Draws, or checks; prints what the official scorer would miss and ends with 1 if there is anything."""
    if not config.check:
        generate(with_policy_of_run(config, list(HydraConfig.get().overrides.task)))
    rank, world = place()
    if rank == 0 and (config.check or world == 1) and check(config):
        raise SystemExit(1)


def generate(config: DictConfig) -> Path:
    """Draws what is missing in the output folder.

    Raises:
        UserError: files that do not fit, or the folder has pictures of something else.
    """
    benchmark, output = Benchmark.of(config), Path(config.output)
    if config.get("policy") is None:
        raise UserError("what should draw? Give policy=<name> for a base, or run=<run folder> for what a run trained")
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    quieten()
    manifest.begin(output, described(config))
    rank, world = place()
    with Progress(disable=not config.progress) as progress:
        bar = progress.add_task("files", total=len(benchmark.files) // world)
        draw(
            painter(config, (file.item.prompt() for file in benchmark.files)),
            benchmark.layout,
            benchmark.files,
            output,
            model=benchmark.model,
            seed=config.seed,
            batch_size=config.policy.batch_size,
            rank=rank,
            world=world,
            done=lambda files: progress.advance(bar, files),
        )
    if (size := _size(benchmark, output)) and "picture_size" not in (manifest.read(output) or {}):
        manifest.note(output, picture_size=size)
    print(f"pictures: {output}")
    return output


def place() -> tuple[int, int]:
    """Number of this process, from 0, and how many there are: as torchrun or srun say, or RANK and WORLD_SIZE set by hand. They
    share the files out without a word to each other."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return ranks.rank(), ranks.announced()


def check(config: DictConfig) -> list[str]:
    """Prints and returns what the official scorer would miss in the output folder."""
    benchmark, output = Benchmark.of(config), Path(config.output)
    if not output.is_dir():
        raise UserError(f"output={output}: there is no such folder to check")
    size: Any = config.size or (manifest.read(output) or {}).get("picture_size")
    found = benchmark.findings(output, size)
    for finding in found[: config.show]:
        print(finding)
    if len(found) > config.show:
        print(f"and {len(found) - config.show} more (show=1000 for more of them)")
    sizes = f"each picture {size[0]} x {size[1]}" if size else "sizes compared where sources are alike"
    verdict = "the scorer would miss something" if found else "all that the scorer reads is there"
    print(f"{len(benchmark.files)} files, {sizes}: {verdict}")
    return found


def described(config: DictConfig) -> dict[str, Any]:
    """The manifest: by what the pictures are drawn."""
    policy = OmegaConf.to_container(config.policy, resolve=True)
    assert isinstance(policy, dict)
    weights = None if config.run is None or config.base else Path(config.run) / "policy"
    return {
        "benchmark": config.benchmark.name,
        "name": config.name,
        "prompts": manifest.digest_of(config.prompts),
        "prompts_from": str(config.prompts),
        "data": OmegaConf.to_container(config.data, resolve=True),
        "policy": {key: policy.get(key) for key in OF_POLICY},
        "adapter": policy["adapter"],
        "weights": weights and manifest.folder_digest(weights),
        "weights_from": weights and str(weights),
        "seed": config.seed,
        "batch_size": policy["batch_size"],
        "versions": versions(RunFolder(Path(config.output))),
    }


def _size(benchmark: Benchmark, output: Path) -> list[int] | None:
    """Pixels of one picture, where all are alike: pictures of edits have the sizes of their sources."""
    if any(file.item.source is not None for file in benchmark.files):
        return None
    drawn = next((path for file in benchmark.files if (path := output / file.path).is_file()), None)
    if drawn is None:
        return None
    with Image.open(drawn) as picture:
        return [picture.width // benchmark.layout.grid, picture.height // benchmark.layout.grid]
