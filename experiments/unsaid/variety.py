"""`python experiments/unsaid/variety.py`: whether the base policy's samples differ in what annotators like.

Of every taste, over the prompts that leave it open: how many pictures meet it, and how many pairs of one prompt differ in it,
which are the pairs that can show it. `--pictures N`: of each prompt.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence

from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.annotators.people import annotators, followed
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.world.questions import Located
from arr_rpo.shapes.world.tastes import leaves_open, taste
from arr_rpo.types import Prompt

SEED = 51
LEAST = 0.10  # of the pairs; below it a taste would take hundreds of pairs of its own prompts to be seen


def samples(prompts: Sequence[Prompt], n: int) -> Mapping[str, list[Sequence[Located]]]:
    """Prompt's id -> what is in n pictures of it that the base policy makes."""
    overrides = ["task=judge", "preferences=annotator"]
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        policy = instantiate(compose("evaluate", overrides=overrides).preferences.policy)
    asked = [prompt for prompt in prompts for _ in range(n)]
    images = policy.generate(asked, SEED, [(prompt.id, k) for prompt in prompts for k in range(n)])
    found: list[Sequence[Located]] = [detection.detect(image) for image in images]
    return {prompt.id: found[i * n : (i + 1) * n] for i, prompt in enumerate(prompts)}


def differing(met: Sequence[bool]) -> float:
    """Share of the pairs of two different pictures of which one alone meets it."""
    yes, n = sum(met), len(met)
    return 2 * yes * (n - yes) / (n * (n - 1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--split", default="shapes/open_train")
    parser.add_argument("--pictures", type=int, default=8)
    given = parser.parse_args()
    prompts = read_prompts(given.split)[:]
    made = samples(prompts, given.pictures)
    by_tag: dict[str, list[float]] = defaultdict(list)
    for prompt in prompts:
        by_tag[prompt.metadata["tag"]] += [float(followed(prompt, things) == 1) for things in made[prompt.id]]
    print("| prompts | pictures | follow the prompt whole |\n|---|---|---|")
    for tag, whole in by_tag.items():
        print(f"| {tag} | {len(whole)} | {sum(whole) / len(whole):.2f} |")
    print("\n| taste | of | open prompts | met | pairs that differ | |\n|---|---|---|---|---|---|")
    owners = {one.question: who.name for who in annotators().values() for one, _ in who.tastes}
    for question, owner in owners.items():
        truth = taste(question).truth
        met = [[truth(things) for things in made[p.id]] for p in prompts if leaves_open(p.metadata, question)]
        share = sum(map(sum, met)) / sum(map(len, met))
        apart = sum(map(differing, met)) / len(met)
        print(f"| {question} | {owner} | {len(met)} | {share:.2f} | {apart:.2f} | {'too few' if apart < LEAST else ''} |")


if __name__ == "__main__":
    main()
