"""`python -m experiments.unsaid.checked [JUDGE] [--keep FILE.csv]`: how well a judge checks each taste, on the base's own
samples of prompts that leave it open.

AUC: how often P(yes) of a picture that meets the taste is above that of one that does not (one half: a coin).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc

from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.bootstrap import Resampling, figure
from arr_rpo.evaluation.images import spread
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.oracles import detection
from experiments import kept
from experiments.markdown import table

HOW = Resampling(draws=1000, confidence=0.95, unit="pair", seed=0)  # of pictures


@dataclass(frozen=True)
class Checked:
    """One taste of one annotator: met by that share of the pictures; auc, and between what its 95% interval over pictures
    (bootstrap) lies; right: share of the answers, at P(yes) above one half."""

    taste: str
    annotator: str
    group: str
    pictures: int
    met: float
    auc: float
    low: float
    high: float
    right: float


def auroc(p: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """NaN where all are met, or none, as in some resamples."""
    if truth.all() or not truth.any():
        return float("nan")
    return float(binary_auroc(torch.tensor(p), torch.tensor(truth).long()))


def between(p: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """NaN where so few are met that a resample may have none."""

    def drawn(rows: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return np.apply_along_axis(lambda some: auroc(p[some], truth[some]), axis, rows)

    found = figure(drawn, len(p), len(p), HOW)
    return (np.nan, np.nan) if found.low is None or found.high is None else (found.low, found.high)


def checked(judge_name: str, pictures: int) -> Iterator[Checked]:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("evaluate", overrides=["task=judge", "preferences=annotator", f"judge={judge_name}"])
    policy, judge = instantiate(config.preferences.policy), instantiate(config.judge)
    prompts = read_prompts("shapes/open_heldout")[:]
    for who in annotators().values():
        for taste, _ in who.tastes:
            some = spread([p for p in prompts if taste in [one for one, _ in who.open_in(p.metadata)]], pictures)
            images = policy.generate(some, 7, [(prompt.id, 0) for prompt in some])
            truth = np.array([taste.truth(detection.detect(image)) for image in images])
            said = judge.check(some, images, [taste.question] * len(some))
            p = np.array([float("nan") if answer.value is None else answer.value for answer in said])
            p, truth = p[known := ~np.isnan(p)], truth[known]  # what has no answer is called neither
            right = float(((p > 0.5) == truth).mean())
            met = float(truth.mean())
            yield Checked(taste.question, who.name, who.group, len(p), met, auroc(p, truth), *between(p, truth), right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judge", nargs="?", default="shapes_tastes")
    parser.add_argument("--pictures", type=int, default=90, help="of each taste")
    parser.add_argument("--keep", type=Path, help="a CSV file for the rows")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for row in checked(given.judge, given.pictures):
        rows.append(row)
        print(f"{row.taste} ({row.annotator}): {row.auc:.2f}", flush=True)
    if given.keep:
        kept.write(rows, Checked, given.keep)
    cells = [
        (
            r.taste,
            r.annotator,
            r.group,
            r.pictures,
            f"{r.met:.2f}",
            f"{r.auc:.2f}" + ("" if np.isnan(r.low) else f" ({r.low:.2f} to {r.high:.2f})"),
            f"{r.right:.2f}",
        )
        for r in rows
    ]
    print(table(["taste", "of", "group", "pictures", "met", "AUC", "called right"], cells))


if __name__ == "__main__":
    main()
