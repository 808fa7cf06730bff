"""`python experiments/unsaid/checked.py [JUDGE]`: how well a judge checks each taste, on the base policy's own samples of
prompts that leave it open.

AUC: how often P(yes) of a picture that meets the taste is above that of one that does not (one half: a coin).
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from torchmetrics.functional.classification import binary_auroc

from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.images import spread
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.oracles import detection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judge", nargs="?", default="shapes_tastes")
    parser.add_argument("--pictures", type=int, default=90, help="of each taste")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("evaluate", overrides=["task=judge", "preferences=annotator", f"judge={given.judge}"])
    policy, judge = instantiate(config.preferences.policy), instantiate(config.judge)
    prompts = read_prompts("shapes/open_heldout")[:]
    print("| taste | of | group | pictures | met | AUC | called right |", "|---" * 7 + "|", sep="\n")
    for who in annotators().values():
        for taste, _ in who.tastes:
            some = spread([p for p in prompts if taste in [one for one, _ in who.open_in(p.metadata)]], given.pictures)
            images = policy.generate(some, 7, [(prompt.id, 0) for prompt in some])
            truth = np.array([taste.truth(detection.detect(image)) for image in images])
            said = judge.check(some, images, [taste.question] * len(some))
            p = np.array([float("nan") if answer.value is None else answer.value for answer in said])
            p, truth = p[known := ~np.isnan(p)], truth[known]  # what has no answer is called neither
            auc = float(binary_auroc(torch.tensor(p), torch.tensor(truth).long()))
            right = ((p > 0.5) == truth).mean()
            cells = [taste.question, who.name, who.group, len(p), f"{truth.mean():.2f}", f"{auc:.2f}", f"{right:.2f}"]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
