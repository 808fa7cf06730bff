"""`python -m experiments.hacking.best_of_n --annotators mia olga --arms unsaid/reward_model hacking/told --keep FILE.csv`: how
far a reward can be trusted without any training.

Many pictures of the base for each of some held-out prompts; of n of them the one is taken that the reward grades best. Its mean
worth to the annotator (gold), over all choices of n, against n, and KL = log n - (n - 1) / n nats. Where gold falls as n grows,
the reward is over-optimised by choosing alone. An attacker takes the one with the most reward less worth, each in standard
deviations within the prompt: how little a picture can be worth that the reward puts high. `--set` has further overrides, such
as study.from_pairs=4.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from PIL.Image import Image

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.evaluation.best_of_n import expected_best, put_below
from arr_rpo.evaluation.images import spread
from arr_rpo.types import Prompt, UserError
from experiments import kept
from experiments.hacking.courses import SAME
from experiments.hacking.finished import worths
from experiments.markdown import fallen, said, table

NS = (1, 2, 4, 8, 16, 32, 64)
FALL = 0.02  # of gold, as in PLAN.md


@dataclass(frozen=True)
class Best:
    """gold: mean worth, 0 to 1, of the one of n pictures that the arm's reward grades best. proxy: share of the prompt's
    pictures that the reward puts below it, equal ones by half. attack_gold, attack_proxy: of the attacker's. kl: nats, of
    either. prompts: so many."""

    annotator: str
    arm: str
    n: int
    kl: float
    gold: float
    proxy: float
    attack_gold: float
    attack_proxy: float
    prompts: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.annotator, self.arm, self.n


def standard(value: np.ndarray) -> np.ndarray:
    """In standard deviations from the mean; 0 where all are equal."""
    spread = value.std()
    return np.asarray((value - value.mean()) / spread if spread > SAME else np.zeros(len(value)))


def bests(annotator: str, arm: str, proxy_PN: np.ndarray, gold_PN: np.ndarray) -> list[Best]:
    """A row an n, means over the P prompts."""
    rows = []
    for n in (n for n in NS if n <= proxy_PN.shape[1]):
        found = []
        for proxy, gold in zip(proxy_PN, gold_PN, strict=True):
            place, attack = put_below(proxy), np.round(standard(proxy) - standard(gold), 9)
            found.append([expected_best(n, score, value) for score in (proxy, attack) for value in (gold, place)])
        gold, proxy, attack_gold, attack_proxy = np.mean(found, axis=0).tolist()
        rows.append(Best(annotator, arm, n, math.log(n) - (n - 1) / n, gold, proxy, attack_gold, attack_proxy, len(found)))
    return rows


def drawn(annotator: str, prompts: int, pictures: int) -> tuple[list[Prompt], list[Image]]:
    """Some of the annotator's held-out prompts, each `pictures` times, and as many pictures of the base."""
    config = composed("unsaid/prompt_alone", annotator)
    data, policy = instantiate(config.data), instantiate(config.policy)
    some = [prompt for prompt in spread(list(data.heldout), prompts) for _ in range(pictures)]
    keys = [(prompt.id, k % pictures) for k, prompt in enumerate(some)]
    images: list[Image] = []
    for start in range(0, len(some), 128):
        images += policy.generate(some[start : start + 128], 9, keys[start : start + 128])
    return some, images


def composed(arm: str, annotator: str, more: Sequence[str] = ()) -> Any:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        chosen = ["study=hacking", f"arm={arm}", f"study.annotator={annotator}", "run_dir=runs/hacking/best_of_n", "seed=1"]
        return compose("train", overrides=[*chosen, *more])


def grades(config: Any, prompts: Sequence[Prompt], images: Sequence[Image]) -> np.ndarray:
    """By the arm's reward, one image at a time."""
    judge, rubric = instantiate(config.judge), instantiate(config.rubric)
    protocol = instantiate(config.reward.protocol)
    if not hasattr(protocol, "grades"):
        raise UserError(f"arm={config.study.arm}: its reward compares pairs, and grades no picture")
    rubrics = rubric.rubrics(prompts, judge) if rubric is not None else [None] * len(prompts)
    said = [grade.value for grade in protocol.grades(judge, prompts, images, rubrics)]
    return np.array([math.nan if value is None else value for value in said])


def golds_table(rows: Sequence[Best]) -> str:
    """Gold by n, means over annotators, and how far it ends below its greatest: for each annotator that of the n at which the
    others' mean is greatest, so that a lucky one is no fall. Last, whose own gold falls by `FALL` from its greatest."""
    ns, lines = sorted({row.n for row in rows}), []
    for arm in sorted({row.arm for row in rows}):
        gold = {(row.annotator, row.n): row.gold for row in rows if row.arm == arm}
        who = sorted({name for name, _ in gold})
        own = [n for n in ns if all((name, n) in gold for name in who)]
        means = {n: f"{fmean(gold[name, n] for name in who):.3f}" for n in own}
        fell = []
        for name in who:
            others = [other for other in who if other != name] or who
            best = max(own, key=lambda n: fmean(gold[other, n] for other in others))
            fell.append(gold[name, own[-1]] - gold[name, best])
        falls = sum(max(gold[name, n] for n in own) - gold[name, own[-1]] >= FALL for name in who)
        lines.append([arm, len(who), *(means.get(n, "-") for n in ns), fallen(fell), f"{falls} of {len(who)}"])
    return table(["arm", "annotators", *(f"best of {n}" for n in ns), "last minus greatest", f"fell by {FALL}"], lines)


def attacks_table(rows: Sequence[Best]) -> str:
    """Of the most pictures: the one that the reward puts first, and the one that the attacker takes."""
    n, lines = max(row.n for row in rows), []
    for arm in sorted({row.arm for row in rows}):
        of = [row for row in rows if row.arm == arm and row.n == n]
        figures = ("proxy", "gold", "attack_proxy", "attack_gold")
        lines.append([arm, len(of), *(said([getattr(row, name) for row in of], signed=False) for name in figures)])
    heads = ("proxy", "gold", "the attacker's proxy", "its gold")
    return table([f"of {n}", "annotators", *heads], lines)


def tables(rows: Sequence[Best]) -> str:
    return f"{golds_table(rows)}\n\n{attacks_table(rows)}"


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", nargs="*", default=[], help="none prints what was kept")
    parser.add_argument("--arms", nargs="*", default=[])
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--keep", type=Path, help="a row an annotator, arm and n; rows of before stay")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = {row.key: row for row in kept.read(Best, given.keep)} if given.keep and given.keep.is_file() else {}
    for name in given.annotators:
        prompts, images = drawn(name, given.prompts, given.pictures)
        worth = np.array(worths(name, prompts, images))
        for arm in given.arms:
            config = composed(arm, name, given.set)
            gold_PN, proxy_PN = (x.reshape(-1, given.pictures) for x in (worth, grades(config, prompts, images)))
            whole = ~np.isnan(proxy_PN).any(1)
            for row in bests(name, str(config.study.arm), proxy_PN[whole], gold_PN[whole]):
                rows[row.key] = row
                print(row, flush=True)
            if given.keep:
                kept.write(rows.values(), Best, given.keep)
    if not rows:
        raise UserError("nothing was kept: give --annotators and --arms, or the file that has them (--keep)")
    print(tables([*rows.values()]))


if __name__ == "__main__":
    main()
