"""`python -m experiments.hacking.best_of_n --annotators mia olga --arms unsaid/reward_model hacking/told --keep FILE.csv`: how
far a reward can be trusted without any training.

Many pictures of the base for each of some held-out prompts; of n of them the one is taken that the reward grades best. Its mean
worth to the annotator (gold), over all choices of n, against n, and KL = log n - (n - 1) / n nats. Where gold falls as n grows,
the reward is over-optimised by choosing alone. `--set` has further overrides, such as study.from_pairs=4.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from PIL.Image import Image

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.evaluation.images import spread
from arr_rpo.shapes.annotators.people import Annotator, annotators
from arr_rpo.types import Prompt, UserError
from arr_rpo.whole_files import write_text

NS = (1, 2, 4, 8, 16, 32, 64)


def best_of(n: int, proxy: np.ndarray, gold: np.ndarray) -> float:
    """Mean gold of the one that the proxy puts first among n drawn without replacement from N; equal ones are taken alike.

    Of the picture with k others below it, the share of the draws in which it is first is C(k, n - 1) / C(N, n).
    """
    order = np.argsort(proxy, kind="stable")
    chances = np.array([math.comb(k, n - 1) for k in range(len(proxy))], dtype=float) / math.comb(len(proxy), n)
    ranked = np.empty(len(proxy))
    ranked[order] = chances
    for value in np.unique(proxy):  # whoever is first of equals
        ranked[proxy == value] = ranked[proxy == value].mean()
    return float(ranked @ gold)


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


def worth_of(who: Annotator, prompt: Prompt, image: Image) -> float:
    """0 to 1, as `measure=annotator`."""
    return who.utility(prompt, image) / (who.prompt + sum(weight for _, weight in who.open_in(prompt.metadata)))


def composed(arm: str, annotator: str, more: Sequence[str] = ()) -> object:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        chosen = ["study=hacking", f"arm={arm}", f"study.annotator={annotator}", "run_dir=runs/hacking/best_of_n", "seed=1"]
        return compose("train", overrides=[*chosen, *more])


def grades(config: object, prompts: Sequence[Prompt], images: Sequence[Image]) -> np.ndarray:
    """By the arm's reward, one image at a time."""
    judge, rubric = instantiate(config.judge), instantiate(config.rubric)  # type: ignore[attr-defined]
    protocol = instantiate(config.reward.protocol)  # type: ignore[attr-defined]
    if not hasattr(protocol, "grades"):
        raise UserError(f"arm={config.study.arm}: its reward compares pairs, and grades no picture")  # type: ignore[attr-defined]
    rubrics = rubric.rubrics(prompts, judge) if rubric is not None else [None] * len(prompts)
    said = [grade.value for grade in protocol.grades(judge, prompts, images, rubrics)]
    return np.array([math.nan if value is None else value for value in said])


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", nargs="+", required=True)
    parser.add_argument("--arms", nargs="+", required=True)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--keep", type=Path, help="a row an annotator, arm and n; rows of before stay")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, str]] = []
    if given.keep and given.keep.is_file():
        with given.keep.open(encoding="utf-8", newline="") as file:
            rows = [*csv.DictReader(file)]
    for name in given.annotators:
        prompts, images = drawn(name, given.prompts, given.pictures)
        who = annotators()[name]
        worth = np.array([worth_of(who, prompt, image) for prompt, image in zip(prompts, images, strict=True)])
        for arm in given.arms:
            config = composed(arm, name, given.set)
            proxy = grades(config, prompts, images)
            gold_PN, proxy_PN = (values.reshape(-1, given.pictures) for values in (worth, proxy))
            whole = ~np.isnan(proxy_PN).any(1)
            for n in (n for n in NS if n <= given.pictures):
                gold = np.mean([best_of(n, p, g) for p, g in zip(proxy_PN[whole], gold_PN[whole], strict=True)])
                kl = math.log(n) - (n - 1) / n
                told = {"annotator": name, "arm": str(config.study.arm), "n": str(n), "kl": f"{kl:.4f}", "gold": f"{gold:.5f}"}  # type: ignore[attr-defined]
                rows.append({**told, "prompts": str(int(whole.sum()))})
                print(" ".join(f"{key}={value}" for key, value in rows[-1].items()), flush=True)
            if given.keep:
                text = io.StringIO()
                lines = csv.DictWriter(text, [*rows[0]], lineterminator="\n")
                lines.writeheader()
                lines.writerows(rows)
                write_text(given.keep, text.getvalue())


if __name__ == "__main__":
    main()
