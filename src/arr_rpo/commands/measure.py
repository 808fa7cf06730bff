"""`python -m arr_rpo.commands.measure [OVERRIDE...]`: how good the embedded policy and judge are, by the oracle, as Markdown.

With `policy.checkpoint=<folder>` and `judge.checkpoint=<folder>` it measures what a recipe has made.

The judge is measured in each role on new drawings and on samples of the policy, on prompts that nobody was trained on.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from PIL.Image import Image

from arr_rpo.commands.errors import plain_errors
from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.images import measure, pictures
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.rubric.parse import RubricError, parse_rubric
from arr_rpo.shapes import oracle
from arr_rpo.shapes.judge_data import balanced_question, name_things, varied_scene
from arr_rpo.shapes.questions import parse, questions_of
from arr_rpo.shapes.scene import draw
from arr_rpo.types import Criterion, Outcome, Prompt, Rubric

SEED = 31


@plain_errors
def main(overrides: Sequence[str] = ()) -> None:
    more = list(overrides) or sys.argv[1:]
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("train", overrides=["experiment=t2i_rpo", "name=measure", "run_dir=unused", *more])
    policy, judge, prompts = instantiate(config.policy), instantiate(config.judge), read_prompts("shapes/heldout")
    first, second = (pictures(policy, prompts, seed, 128) for seed in (SEED, SEED + 1))
    for name, split in (("heldout", prompts), ("unseen", read_prompts("shapes/unseen"))):
        result = measure(split, first if name == "heldout" else pictures(policy, split, SEED, 128))
        tags = ", ".join(f"{tag} {value:.3f}" for tag, value in result.by_tag.items())
        print(f"policy, {name}: strict {result.strict:.3f}, criteria {result.criteria:.3f} ({result.prompts} prompts; {tags})")
    replies, _ = judge.write([p.text for p in prompts])
    written = [_is_right(reply, prompt) for reply, prompt in zip(replies, prompts, strict=True)]
    print(f"judge, rubrics with exactly the prompt's criteria: {_rate(written):.3f}")
    print("\n| on | figure | value | of |\n|---|---|---|---|")
    rng = np.random.default_rng(SEED)
    drawn = [(draw(varied_scene(dict(p.metadata), rng)), draw(varied_scene(dict(p.metadata), rng))) for p in prompts]
    for name, pairs in (("drawings", drawn), ("policy samples", list(zip(first, second, strict=True)))):
        for figure, values in judge_figures(judge, prompts, pairs, rng).items():
            print(f"| {name} | {figure} | {_rate(values):.3f} | {len(values)} |")


def judge_figures(
    judge: VLMJudge, prompts: Sequence[Prompt], pairs: Sequence[tuple[Image, Image]], rng: np.random.Generator
) -> dict[str, list[bool]]:
    """For each role, whether each answer was right; pairs that the oracle ties count only towards ties and flips."""
    figures: dict[str, list[bool]] = defaultdict(list)
    images = [a for a, _ in pairs]
    found = [oracle.detect(image) for image in images]
    figures["description exact"] = [
        text == name_things(things) for text, things in zip(judge.descriptions(images), found, strict=True)
    ]
    questions = [balanced_question(things, rng) for things in found]
    for question, p, things in zip(questions, judge.check(images, [str(q) for q in questions]), found, strict=True):
        truth = question.answer(things)
        right = p is not None and (p > 0.5) == truth
        figures["check, all kinds"].append(right)
        figures[f"check, {question.kind}, truth {'yes' if truth else 'no'}"].append(right)
    rubrics = [Rubric(tuple(Criterion(q.kind, str(q)) for q in questions_of(p.metadata))) for p in prompts]
    gaps = [_met(p, a) - _met(p, b) for p, (a, b) in zip(prompts, pairs, strict=True)]
    asked: list[tuple[str, list[Any]]] = [("rubric", list(rubrics)), ("pairwise", [None] * len(prompts))]
    for name, contexts in asked:
        for gap, verdict, pair in zip(gaps, judge.compare(prompts, pairs, contexts), pairs, strict=True):
            for check in verdict.checks:
                question = parse(check.question)
                for p, image in zip((check.a, check.b), pair, strict=True):
                    right = (p > 0.5) == question.answer(oracle.detect(image))
                    figures["criteria of prompts' rubrics, all kinds"].append(right)
                    figures[f"criteria of prompts' rubrics, {question.kind}"].append(right)
            figures[f"{name}: order flips"].append(verdict.outcome is Outcome.INCONSISTENT)
            if gap:
                figures[f"{name}: verdict right"].append(verdict.outcome is (Outcome.A if gap > 0 else Outcome.B))
                figures[f"{name}: verdict wrong"].append(verdict.outcome is (Outcome.B if gap > 0 else Outcome.A))
    grades = [[s.value for s in judge.score(prompts, [pair[side] for pair in pairs])] for side in (0, 1)]
    for gap, a, b in zip(gaps, *grades, strict=True):
        if gap:
            figures["score: the better picture has the higher grade"].append(
                a is not None and b is not None and (a - b) * gap > 0
            )
    return dict(sorted(figures.items()))


def _met(prompt: Prompt, image: Image) -> int:
    things = oracle.detect(image)
    return sum(q.answer(things) for q in questions_of(prompt.metadata))


def _is_right(reply: str, prompt: Prompt) -> bool:
    try:
        return {c.question for c in parse_rubric(reply, {}).criteria} == {str(q) for q in questions_of(prompt.metadata)}
    except RubricError:
        return False


def _rate(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
