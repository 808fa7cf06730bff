"""`python experiments/unsaid/agreement.py`: whose verdicts agree with an annotator after N of their labelled pairs, and what
rubrics that come of these say.

Pairs are the base policy's own, of prompts that leave one of the annotator's tastes open. Every source learns from the same
N, and is asked about the same new pairs, of prompts that nobody learned from, on which the annotator is not indifferent. A
cell is a folder (its verdicts, `bench.json`, `agreement.json`) and is not filled again: the same command goes on where it
stopped, and two may fill one table, with `--part 0/2` and `--part 1/2`. `experiments.unsaid.agreed` makes the tables.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL.Image import Image

from arr_rpo.data.prompts import read_prompts
from arr_rpo.judge.asked_once import AskedOnce
from arr_rpo.shapes.annotators.people import GROUPS, annotators
from arr_rpo.shapes.annotators.preferences import AnnotatorPreferences
from arr_rpo.shapes.annotators.rubric_truth import agreement
from arr_rpo.types import Prompt, UserError
from arr_rpo.whole_files import write_json

NEW = 240  # pairs that are asked about, before ties are left out
WITHOUT_PAIRS = {  # sources that learn nothing
    "annotator": ["reward=annotator", "judge=none", "rubric=none"],
    "prompt_rubric": ["reward=checklist", "rubric=per_prompt"],
    "pairwise": ["reward=pairwise", "rubric=none"],
}
FROM_PAIRS = {
    "reward_model": ["reward=reward_model", "judge=none", "rubric=none"],
    "weighted": ["reward=checklist", "rubric=global_weighted", "rubric.role=write_taste"],
    "own_weighted": ["reward=checklist", "rubric=per_prompt_weighted", "rubric.role=write_taste"],
    "own_weighted_listed": ["reward=checklist", "rubric=per_prompt_weighted", "rubric.candidates=tastes_shapes"],
    "weighted_listed": ["reward=checklist", "rubric=global_weighted", "rubric.candidates=tastes_shapes"],
    "own_weighted_verdict": ["reward=rubric", "rubric=per_prompt_weighted", "rubric.role=write_taste"],
    "weighted_verdict": ["reward=rubric", "rubric=global_weighted", "rubric.role=write_taste"],
    "global": ["reward=checklist", "rubric=global", "rubric.role=write_taste"],
    "global_verdict": ["reward=rubric", "rubric=global", "rubric.role=write_taste"],
    "unverified": ["reward=checklist", "rubric=global", "rubric.role=write_taste", "rubric/settings=unverified"],
    "exemplars": ["reward=pairwise", "rubric=none", "+judge/exemplars=labelled"],
    "another_listed": ["reward=checklist", "rubric=per_prompt_weighted", "rubric.candidates=tastes_shapes"],  # a control
}
REFINED = ["reward=checklist", "rubric=per_prompt_refined", "rubric.role=write_taste"]
FROM_OWN_PAIRS = {  # sources that learn from pairs of the very prompts that they are asked about, of each so many
    "refined": REFINED,
    "unrefined": [*REFINED, "rubric.settings.max_refinements=0"],
}
OF_EACH = 12  # written from, held out and mended by, together


@dataclass(frozen=True)
class Cell:
    """noise: share of wrong labels. pairs is 0 where a source learns from none, and of each prompt in FROM_OWN_PAIRS."""

    annotator: str
    seed: int
    pairs: int
    noise: float
    source: str

    @property
    def name(self) -> str:
        return f"{self.annotator}/{self.source},pairs={self.pairs},noise={self.noise:g},seed={self.seed}"


class Remembering:
    """A policy whose pictures are drawn once."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.made: dict[tuple[int, tuple[int | str, ...]], Image] = {}

    def generate(self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[int | str, ...]]) -> list[Image]:
        new = [i for i, key in enumerate(keys) if (seed, key) not in self.made]
        images = self.policy.generate([prompts[i] for i in new], seed, [keys[i] for i in new]) if new else []
        self.made.update({(seed, keys[i]): image for i, image in zip(new, images, strict=True)})
        return [self.made[seed, key] for key in keys]


def after(name: str) -> str:
    """Another annotator of the same group."""
    group = [who.name for who in annotators().values() if who.group == annotators()[name].group]
    return group[(group.index(name) + 1) % len(group)]


def cells(given: argparse.Namespace) -> Iterator[Cell]:
    """Those of one annotator and seed of pairs after the other, so that their pictures are drawn once."""
    for who, seed in itertools.product(given.annotators, given.seeds):
        for source in given.sources:
            if source in WITHOUT_PAIRS:
                yield Cell(who, 0, 0, 0.0, source)
            elif source in FROM_OWN_PAIRS:
                yield Cell(who, seed, OF_EACH, 0.0, source)
            else:
                for pairs, noise in itertools.product(given.pairs, given.noises):
                    yield Cell(who, seed, pairs, noise, source)


class Table:
    """Fills cells."""

    def __init__(self, place: Path, judge: str, more: Sequence[str]) -> None:
        self.place, self.judge, self.more = place, judge, list(more)
        self._policy: Remembering | None = None
        self._judges: dict[tuple[str, str], AskedOnce] = {}

    def composed(self, name: str, *overrides: str) -> DictConfig:
        with initialize_config_module("arr_rpo.configs", version_base="1.3"):
            return compose(name, overrides=[*overrides])

    def preferences(self, cell: Cell, **changes: Any) -> AnnotatorPreferences:
        config = self.composed("evaluate", "task=judge", "preferences=annotator").preferences
        if self._policy is None:
            self._policy = Remembering(instantiate(config.policy))
        given = {key: value for key, value in config.items() if key not in ("_target_", "policy")}
        told = {"annotator": cell.annotator, "only_open": True, "ties": "drop", **changes}
        return AnnotatorPreferences(**{**given, **told}, policy=self._policy)

    def labelled(self, cell: Cell) -> AnnotatorPreferences:
        """The same for every source, but for the control that learns from the next annotator of the group."""
        whose = after(cell.annotator) if cell.source.startswith("another") else cell.annotator
        return self.preferences(cell, annotator=whose, pairs=cell.pairs, label_noise=cell.noise, seed=cell.seed)

    def of_the_same_prompts(self, cell: Cell) -> AnnotatorPreferences:
        """Pairs of the prompts that are asked about, other ones than those."""
        split, who = "shapes/open_heldout", annotators()[cell.annotator]
        prompts = sum(bool(who.open_in(prompt.metadata)) for prompt in read_prompts(split)[:])
        many = {"pairs": cell.pairs * prompts, "pairs_per_prompt": cell.pairs}
        return self.preferences(cell, split=split, **many, seed=1000 + cell.seed)

    def fill(self, cell: Cell) -> None:
        folder = self.place / cell.name
        if (folder / "agreement.json").is_file():
            return
        print(cell.name, flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = self._measured(cell, folder)
        except UserError as error:  # a source that comes to nothing is a result
            found = {"nothing": str(error)}
        write_json(folder / "agreement.json", {**asdict(cell), **found})

    def _measured(self, cell: Cell, folder: Path) -> dict[str, Any]:
        overrides = [*({**WITHOUT_PAIRS, **FROM_PAIRS, **FROM_OWN_PAIRS}[cell.source]), *self.more]
        if "judge=none" not in overrides:
            overrides.append(f"judge={self.judge}")
        if cell.source == "annotator":
            overrides.append(f"reward.protocol.annotator={cell.annotator}")
        if cell.source == "reward_model":
            overrides.append(f"reward.protocol.checkpoint='{self._reward_model(cell, folder)}'")
            overrides.append(f"judge@reward.protocol.judge={self.judge}")
        config = self.composed("evaluate", "task=judge", f"run_dir='{folder}'", *overrides)
        config.bench.progress = False
        new = self.preferences(cell, split="shapes/open_heldout", pairs=NEW, chance=False, seed=5)
        parts: dict[str, Any] = {"pairs": new, "judge": self._judge(cell, config)}
        said: dict[str, Any] = {}
        parts["rubric"] = None
        if config.rubric is not None:
            parts["rubric"], said = self._rubric(cell, config, parts["judge"])
        node = {key: value for key, value in config.bench.items() if key not in parts}
        result = instantiate({**node, "_partial_": True})(**parts).run({"cell": asdict(cell)})
        by_subset = {
            name: {"value": some["accuracy"].value, "of": some["accuracy"].of} for name, some in result.by_subset.items()
        }
        return {"accuracy": result.overall["accuracy"].value, "of": result.pairs, "subsets": by_subset, **said}

    def _judge(self, cell: Cell, config: DictConfig) -> Any:
        """One that remembers what it said of an annotator's pictures: cells of one annotator ask much of it again."""
        if exemplars := OmegaConf.select(config, "judge.exemplars"):
            judge = instantiate({**config.judge, "exemplars": None})
            made = instantiate({**exemplars, "_partial_": True, "preferences": None})
            judge.exemplars = made(preferences=self.labelled(cell))
            return judge
        key = (cell.annotator, json.dumps(OmegaConf.to_container(config.judge, resolve=True)))
        if key not in self._judges:
            self._judges = {k: judge for k, judge in self._judges.items() if k[0] == cell.annotator}
            self._judges[key] = AskedOnce(instantiate(config.judge))
        return self._judges[key]

    def _rubric(self, cell: Cell, config: DictConfig, judge: Any) -> tuple[Any, dict[str, Any]]:
        """The source of rubrics, and how far what it says is what the annotator likes."""
        node = dict(config.rubric)
        if cell.source in FROM_OWN_PAIRS:
            del node["preferences"]
            source = instantiate({**node, "_partial_": True})(preferences=self.of_the_same_prompts(cell))
        elif cell.pairs:
            del node["preferences"]
            if "writing_pairs" in node:  # two in three are written from, unless nothing is verified
                whole = not node["settings"]["verify"]
                node["writing_pairs"] = cell.pairs if whole else max(1, round(2 * cell.pairs / 3))
                node["heldout_pairs"] = cell.pairs - node["writing_pairs"]
            else:
                node["pairs"] = cell.pairs
            source = instantiate({**node, "_partial_": True})(preferences=self.labelled(cell))
        else:
            source = instantiate(node)
        prompts, who = read_prompts("shapes/open_heldout")[:], annotators()[cell.annotator]
        rubrics = source.rubrics(prompts, judge)
        one_for_all = cell.source in FROM_PAIRS and rubrics[0]
        questions = [[c.question, c.weight] for c in rubrics[0].criteria] if one_for_all else []
        return source, {
            "rubric": questions,
            **{f"says_{key}": value for key, value in asdict(agreement(rubrics, prompts, who)).items()},
        }

    def _reward_model(self, cell: Cell, folder: Path) -> Path:
        where = folder / "reward_model"
        if not where.is_dir():
            config = self.composed(
                "train", "experiment=reward_model", "name=unsaid", f"run_dir='{folder}'", f"judge@module.judge={self.judge}"
            )
            node = {key: value for key, value in config.module.items() if key != "pairs"}
            pl.seed_everything(cell.seed, verbose=False)
            recipe = instantiate({**node, "_partial_": True})(pairs=self.labelled(cell))
            quiet: dict[str, Any] = {
                "logger": False,
                "enable_progress_bar": False,
                "enable_checkpointing": False,
                "enable_model_summary": False,
            }
            pl.Trainer(accelerator="cpu", max_epochs=1, num_sanity_val_steps=0, **quiet).fit(recipe)
        return where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = {name: [who.name for who in annotators().values() if who.group == name] for name in GROUPS}
    parser.add_argument(
        "--annotators", nargs="*", default=group["developing"], help="names; `heldout` for those of final studies"
    )
    parser.add_argument("--pairs", nargs="*", type=int, default=[4, 16, 64, 256])
    parser.add_argument("--noises", nargs="*", type=float, default=[0.0])
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--sources", nargs="*", default=[*WITHOUT_PAIRS, *FROM_PAIRS, *FROM_OWN_PAIRS])
    parser.add_argument("--judge", default="shapes")
    parser.add_argument("--place", type=Path, default=Path("runs/unsaid/agreement"))
    parser.add_argument("--part", default="0/1", help="0/2 and 1/2: each of two processes does every other annotator")
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    given = parser.parse_args()
    if given.annotators == ["heldout"]:
        given.annotators = group["heldout"]
    index, parts = map(int, given.part.split("/"))
    given.annotators = given.annotators[index::parts]
    for name in ("pytorch_lightning", "lightning", "arr_rpo"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    table = Table(given.place.resolve(), given.judge, given.set)
    for cell in cells(given):
        table.fill(cell)
    print(json.dumps({"cells": sum(1 for _ in cells(given))}))


if __name__ == "__main__":
    main()
