"""`python experiments/unsaid/perfect_judge.py`: from how many labelled pairs `rubric=global_weighted` finds tastes.

Candidates and their checks are exact (`judge=oracle_tastes`): what is left to go wrong is the number of pairs, and chance.

Developing annotators, drawn pairs of `shapes/open_train`; rubrics are measured on the prompts of `shapes/open_heldout`.
"""

from __future__ import annotations

import logging
import statistics
import tempfile

from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.annotators.rubric_truth import Agreement, agreement
from arr_rpo.types import UserError

PAIRS, NOISES, SEEDS = (4, 16, 64, 256), (0.0, 0.1, 0.3, 0.5), (1, 2)


def found(name: str, pairs: int, noise: float, seed: int) -> Agreement:
    """What the rubric says that these pairs lead to; nothing where they lead to none."""
    source = "preferences@rubric.preferences=annotator_drawn"
    chosen = {"annotator": name, "pairs": 2 * pairs, "label_noise": noise, "ties": "drop", "seed": seed}
    overrides = [f"rubric.preferences.{key}={value}" for key, value in chosen.items()]
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("rubrics", overrides=["judge=oracle_tastes", "rubric=global_weighted", source, *overrides])
    prompts, who = read_prompts("shapes/open_heldout")[:], annotators()[name]
    with tempfile.TemporaryDirectory() as store:
        config.rubric.store, config.rubric.pairs = store, pairs
        try:
            rubrics = instantiate(config.rubric).rubrics(prompts, instantiate(config.judge))
        except UserError:  # no criterion tells what they prefer
            rubrics = [None] * len(prompts)
    return agreement(rubrics, prompts, who)


def main() -> None:
    logging.getLogger("arr_rpo").setLevel(logging.ERROR)
    names = [who.name for who in annotators().values() if who.group == "developing"]
    print("| pairs | wrong labels | coverage | precision | exact | without a rubric |\n|---|---|---|---|---|---|")
    for noise in NOISES:
        for pairs in PAIRS:
            made = [found(name, pairs, noise, seed) for name in names for seed in SEEDS]
            coverage, exact = (statistics.fmean(getattr(one, key) for one in made) for key in ("coverage", "exact"))
            precision = [one.precision for one in made if one.precision is not None]
            none = sum(one.without > 0 for one in made)
            said = f"{statistics.fmean(precision):.2f}" if precision else "-"
            print(f"| {pairs} | {noise:.0%} | {coverage:.2f} | {said} | {exact:.2f} | {none} of {len(made)} |", flush=True)


if __name__ == "__main__":
    main()
