"""`python experiments/unsaid/reward_model.py`: whose choices a reward model learns, from how many of the base's own pairs.

Developing annotators; frozen features of the embedded judge, the settings of `experiment=reward_model`. Accuracy on pairs of
`shapes/open_heldout` against what is worth more to the annotator, also of pairs that differ in taste alone. Pictures and their
features are made once for all. `--set module.hidden=128`: other settings.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from PIL.Image import Image
from torch import Tensor

from arr_rpo.reward_model.recipe import RewardModelRecipe, key_of
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.annotators.preferences import AnnotatorPreferences
from arr_rpo.types import Outcome, Preference, Prompt

PAIRS, NEW = (4, 16, 64, 256), 400


class Remembering:
    """A policy whose pictures are drawn once."""

    def __init__(self, policy: Any) -> None:
        self.policy, self.made = policy, {}

    def generate(self, prompts: Sequence[Prompt], seed: int, keys: Sequence[tuple[int | str, ...]]) -> list[Image]:
        new = [i for i, key in enumerate(keys) if (seed, key) not in self.made]
        images = self.policy.generate([prompts[i] for i in new], seed, [keys[i] for i in new]) if new else []
        self.made.update({(seed, keys[i]): image for i, image in zip(new, images, strict=True)})
        return [self.made[seed, key] for key in keys]


def preferences(config: Any, policy: Remembering, **changes: Any) -> AnnotatorPreferences:
    given = {key: value for key, value in config.items() if key not in ("_target_", "policy")}
    return AnnotatorPreferences(**{**given, "ties": "drop", **changes}, policy=policy)


@torch.no_grad()
def accuracy(recipe: RewardModelRecipe, new: Sequence[Preference], known: dict[Any, Tensor]) -> tuple[float, float]:
    """On all pairs, and on those that differ in taste alone."""
    recipe.read(new)  # what is not known yet
    sides = [torch.stack([known[key_of(p.prompt, image)] for p, image in zip(new, images, strict=True)]) for images in (
        [p.a for p in new], [p.b for p in new])]  # fmt: skip
    gaps = (recipe.head(sides[0]) - recipe.head(sides[1])).tolist()
    right = [(gap > 0) == (p.better is Outcome.A) for gap, p in zip(gaps, new, strict=True)]
    return statistics.fmean(right), statistics.fmean(r for r, p in zip(right, new, strict=True) if p.subset == "taste")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", nargs="*", default=[])
    given = parser.parse_args()
    for name in ("pytorch_lightning", "lightning", "arr_rpo"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(1)
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        overrides = ["experiment=reward_model", "name=unsaid", "preferences@module.pairs=annotator", "run_dir=none", *given.set]
        config = compose("train", overrides=overrides)
    judge, policy = instantiate(config.module.judge), Remembering(instantiate(config.module.pairs.policy))
    settings = {key: value for key, value in config.module.items() if key not in ("_target_", "judge", "pairs", "most_pairs")}
    known: dict[Any, Tensor] = {}
    print("| pairs | accuracy | in taste alone | least in taste alone |\n|---|---|---|---|")
    for pairs in PAIRS:
        found = []
        for who in (who.name for who in annotators().values() if who.group == "developing"):
            labelled = preferences(config.module.pairs, policy, annotator=who, pairs=2 * max(PAIRS))
            new = preferences(
                config.module.pairs, policy, annotator=who, pairs=NEW, split="shapes/open_heldout", chance=False, seed=5
            )
            with tempfile.TemporaryDirectory() as folder:
                pl.seed_everything(config.seed, verbose=False)
                recipe = RewardModelRecipe(
                    judge=judge, pairs=labelled, **{**settings, "most_pairs": pairs, "output_dir": folder}
                )
                recipe.known = known
                quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
                pl.Trainer(
                    accelerator="cpu", max_epochs=1, num_sanity_val_steps=0,
                    enable_model_summary=False, **quiet,
                ).fit(recipe)  # fmt: skip
                found.append(accuracy(recipe, list(new), known))
        every, taste = zip(*found, strict=True)
        print(f"| {pairs} | {statistics.fmean(every):.3f} | {statistics.fmean(taste):.3f} | {min(taste):.3f} |", flush=True)


if __name__ == "__main__":
    main()
