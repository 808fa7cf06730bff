"""`python experiments/embedded_models/measure.py [OVERRIDE...]`: how good the embedded policy and judge are, as Markdown.

With `policy.checkpoint=<folder>` and `judge.model.checkpoint=<folder>` it measures what a recipe has made.

The judge is measured in each role on new drawings, on samples of the policy, and on edits, right and wrong, of drawings; the
prompts and instructions are those that nobody was trained on.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from PIL.Image import Image

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.images import pictures
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.rubric_reply import RubricError, parse_rubric, parse_structure
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.measure.base import Taken
from arr_rpo.noise import Purpose, draws
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.oracles.measure import ShapesOracle
from arr_rpo.shapes.recipes import taught
from arr_rpo.shapes.recipes.judge_data import PROMPT_KINDS, QUESTION_KINDS, balanced_question, name_things
from arr_rpo.shapes.world import asked
from arr_rpo.shapes.world.asked import Asked
from arr_rpo.shapes.world.edits import from_metadata, mistaken_edit
from arr_rpo.shapes.world.general import theme_of
from arr_rpo.shapes.world.prompts import scene_of, varied_scene
from arr_rpo.shapes.world.scene import draw
from arr_rpo.types import Criterion, Outcome, Preference, Prompt, Rubric, Verdict

SEED = 31
Pair = tuple[Image, Image]
Case = tuple[str, Sequence[Prompt], Sequence[Pair]]  # where the pictures are from, their prompts, a pair of each


@plain_errors
def main(overrides: Sequence[str] = ()) -> None:
    more = list(overrides) or sys.argv[1:]
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("train", overrides=["experiment=t2i_rpo", "name=measure", "run_dir=unused", *more])
    policy, judge, rng = instantiate(config.policy), instantiate(config.judge), draws(Purpose.SAMPLE, SEED, "measure")
    for split in ("heldout", "unseen"):
        prompts = read_prompts(f"shapes/{split}")
        values = ShapesOracle().values(prompts, pictures(policy, prompts, SEED, 128), None)
        result = Taken({p.id: v for p, v in zip(prompts, values, strict=True)}, {p.id: p.metadata["tag"] for p in prompts})
        tags = ", ".join(f"{tag} {value:.3f}" for tag, value in result.by_tag.items())
        criteria = result.figures["criteria"]
        print(f"policy, {split}: strict {result.mean:.3f}, criteria {criteria:.3f} ({len(prompts)} prompts; {tags})")
    print("\n| on | figure | value | of |\n|---|---|---|---|")
    for name, asked_of, pairs in cases(policy, judge, rng):
        show(name, {**judge_figures(judge, asked_of, pairs, rng), **writer_figures(judge, asked_of, pairs, rng)})
        if name != "edits":
            show(name, taste_figures(judge, asked_of, pairs))
    prompts = read_prompts("shapes/open_heldout")
    scenes = [[draw(scene_of(dict(p.metadata), rng)) for _ in "ab"] for p in prompts]
    show("drawings that follow the prompt", taste_figures(judge, prompts, [(a, b) for a, b in scenes]))


def show(name: str, found: Mapping[str, Sequence[bool]]) -> None:
    for figure, values in found.items():
        print(f"| {name} | {figure} | {_rate(values):.3f} | {len(values)} |", flush=True)


def cases(policy: Any, judge: VLMJudge, rng: np.random.Generator) -> Iterator[Case]:
    """Drawings, samples of the policy, and edits."""
    prompts = read_prompts("shapes/heldout")
    first, second = (pictures(policy, prompts, seed, 128) for seed in (SEED, SEED + 1))
    drawn = [(draw(varied_scene(dict(p.metadata), rng)), draw(varied_scene(dict(p.metadata), rng))) for p in prompts]
    yield "drawings", prompts, drawn
    yield "policy samples", prompts, list(zip(first, second, strict=True))
    prompts = read_prompts("shapes/edit_heldout")
    scenes = [[mistaken_edit(*from_metadata(p.metadata), rng) for _ in "ab"] for p in prompts]
    yield "edits", prompts, [(draw(a), draw(b)) for a, b in scenes]


def judge_figures(
    judge: VLMJudge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rng: np.random.Generator
) -> dict[str, list[bool]]:
    """For each role, whether each answer was right; pairs that the oracle ties count only towards ties and flips."""
    figures: dict[str, list[bool]] = defaultdict(list)
    images = [a for a, _ in pairs]
    found = [detection.detect(image) for image in images]
    seen, _ = judge.asker.descriptions(images)
    figures["description exact"] = [text == name_things(things) for text, things in zip(seen, found, strict=True)]
    questions = [balanced_question(things, rng, QUESTION_KINDS) for things in found]
    answers = judge.check(prompts, images, [str(q) for q in questions])
    for question, answer, things in zip(questions, answers, found, strict=True):
        truth = question.answer(things)
        right = answer.value is not None and (answer.value > 0.5) == truth
        figures["check, all kinds"].append(right)
        figures[f"check, {question.kind}, truth {'yes' if truth else 'no'}"].append(right)
    figures |= _general_figures(judge, prompts, images, found)
    figures |= _pair_figures(judge, prompts, pairs)
    grades = [[s.value for s in judge.score(prompts, [pair[side] for pair in pairs])] for side in (0, 1)]
    for prompt, pair, a, b in zip(prompts, pairs, *grades, strict=True):
        if gap := _gap(prompt, pair):
            figures["score: the better picture has the higher grade"].append(
                a is not None and b is not None and (a - b) * gap > 0
            )
    return dict(sorted(figures.items()))


def _pair_figures(judge: VLMJudge, prompts: Sequence[Prompt], pairs: Sequence[Pair]) -> dict[str, list[bool]]:
    """Verdicts by the prompt's own rubric, by none, and by general criteria."""
    figures: dict[str, list[bool]] = defaultdict(list)
    forms: dict[str, list[list[Asked]]] = {
        "rubric": [asked.own(p.metadata) for p in prompts],
        "pairwise": [[] for _ in prompts],
        "general rubric": [asked.anyone(p.metadata) for p in prompts],
    }
    for name, criteria in forms.items():
        rubrics = [Rubric(tuple(Criterion(c.name, c.text) for c in some)) if some else None for some in criteria]
        for prompt, pair, some, verdict in zip(prompts, pairs, criteria, judge.compare(prompts, pairs, rubrics), strict=True):
            things = [detection.detect(image) for image in pair]
            for check, criterion in zip(verdict.checks, some, strict=False):
                right = [(p > 0.5) == criterion.truth(t) for p, t in zip((check.a, check.b), things, strict=True)]
                figures[f"{name}: criteria right"] += right
                figures[f"{name}: criteria right, {criterion.name}"] += right
            figures[f"{name}: order flips"].append(verdict.outcome is Outcome.INCONSISTENT)
            if gap := _gap(prompt, pair):
                figures[f"{name}: verdict right"].append(verdict.outcome is (Outcome.A if gap > 0 else Outcome.B))
                figures[f"{name}: verdict wrong"].append(verdict.outcome is (Outcome.B if gap > 0 else Outcome.A))
    return figures


def _general_figures(
    judge: VLMJudge, prompts: Sequence[Prompt], images: Sequence[Image], found: Sequence[Sequence[Any]]
) -> dict[str, list[bool]]:
    """Of criteria for any prompt, one at a time, and of critiques."""
    figures: dict[str, list[bool]] = defaultdict(list)
    for prompt, image, things in zip(prompts, images, found, strict=True):
        some = asked.anyone(prompt.metadata)
        answers = judge.check([prompt] * len(some), [image] * len(some), [c.text for c in some])
        for criterion, answer in zip(some, answers, strict=True):
            right = answer.value is not None and (answer.value > 0.5) == criterion.truth(things)
            figures[f"general criterion, {criterion.name}"].append(right)
    names = asked.dimensions(prompts[0].metadata)
    for prompt, critique, things in zip(prompts, judge.critique(prompts, images, names), found, strict=True):
        figures["critique exact"].append(critique.text == asked.critique_text(things, prompt.metadata))
        for name, grade in list(asked.dimension_grades(things, prompt.metadata).items())[:-1]:
            given = critique.dimensions.get(name)
            figures["critique, grade right"].append(("NA" if given is None else str(round(given))) == grade)
    return figures


def writer_figures(
    judge: VLMJudge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rng: np.random.Generator
) -> dict[str, list[bool]]:
    """For each role of a writer, whether what it wrote is exactly what the world asks for."""
    figures: dict[str, list[bool]] = defaultdict(list)
    for prompt, reply in zip(prompts, judge.writer.write(prompts)[0], strict=True):
        figures["write: exactly the prompt's criteria"].append(_questions(reply) == _texts(asked.own(prompt.metadata)))
    labelled = [
        Preference(p.id, p, *pair, Outcome.A if _gap(p, pair) > 0 else Outcome.B)
        for p, pair in zip(prompts, pairs, strict=True)
        if _gap(p, pair)
    ]
    for pair, reply in zip(labelled, judge.writer.write_from_pairs(labelled, role="write_pair")[0], strict=True):
        written, told = _questions(reply), _explaining(pair)
        figures["write from a pair: exactly what explains it"].append(written == told)
        figures["write from a pair: precision"] += [q in _texts(asked.own(pair.prompt.metadata)) for q in written]
        figures["write from a pair: coverage of what explains it"] += [q in written for q in told]
    plans, _ = judge.plan([p.prompt for p in labelled], [(p.a, p.b) for p in labelled])
    for pair, plan in zip(labelled, plans, strict=True):
        a, b = detection.detect(pair.a), detection.detect(pair.b)
        split = _texts([c for c in asked.own(pair.prompt.metadata) if c.truth(a) != c.truth(b)])
        figures["plan: exactly what the pictures differ in"].append(_questions(plan) == split)
    given = [_mistaken_rubric(pair, rng) for pair in labelled]
    mended, _ = judge.writer.refine(labelled, given, [Verdict(Outcome.TIE, 0.5)] * len(labelled))
    for pair, rubric, reply in zip(labelled, given, mended, strict=True):
        right = _texts(asked.own(pair.prompt.metadata)) & ({c.question for c in rubric.criteria} | _explaining(pair))
        figures["refine: exactly what was right and what explains the pair"].append(_questions(reply) == right)
    lists = [[Criterion(c.name, c.text) for c in asked.own(p.metadata)] for p in prompts]
    for criteria, reply in zip(lists, judge.writer.structure(lists)[0], strict=True):
        figures["structure: each criterion under its theme"].append(_themes(reply, criteria) == _true_themes(criteria))
    return dict(sorted(figures.items()))


def taste_figures(judge: VLMJudge, prompts: Sequence[Prompt], pairs: Sequence[Pair]) -> dict[str, list[bool]]:
    """Of tastes that the judge was taught, and of those of held-out annotators, which it has to compose: asked one by one, in
    rubrics, and named from pairs. Where neither picture follows the prompt better, the first is called the better one."""
    figures: dict[str, list[bool]] = defaultdict(list)
    rng = draws(Purpose.SAMPLE, SEED, "tastes")
    heldout = [one for one in taught.in_order() if one.question in taught.HELDOUT]
    kinds = {"taught": taught.taught(), "held out": heldout}
    found = [[detection.detect(image) for image in pair] for pair in pairs]
    for kind, among in kinds.items():
        images, things = [a for a, _ in pairs] * 2, [a for a, _ in found] * 2
        likes = [taught.balanced_taste(some, rng, among) for some in things]
        answers = judge.check([*prompts] * 2, images, [one.question for one in likes])
        for one, answer, some in zip(likes, answers, things, strict=True):
            right = answer.value is not None and (answer.value > 0.5) == one.truth(some)
            figures[f"taste {kind}: check"].append(right)
            figures[f"taste {kind}: check, truth {'yes' if one.truth(some) else 'no'}"].append(right)
            if kind == "held out":
                figures[f"taste held out: {one.question}"].append(right)
    return dict(sorted(figures.items())) | _rubrics_of_tastes(judge, prompts, pairs, rng) | _named(judge, prompts, pairs)


def _rubrics_of_tastes(
    judge: VLMJudge, prompts: Sequence[Prompt], pairs: Sequence[Pair], rng: np.random.Generator
) -> dict[str, list[bool]]:
    """Of the prompt's criteria and three tastes, one of which is held out: whoever meets more is to win."""
    figures: dict[str, list[bool]] = defaultdict(list)
    heldout = [one for one in taught.in_order() if one.question in taught.HELDOUT]
    rubrics = []
    for prompt, pair in zip(prompts, pairs, strict=True):
        some = [detection.detect(image) for image in pair]
        likes = {taught.balanced_taste(some[i % 2], rng, heldout if i == 2 else ()).question for i in range(3)}
        questions = dict.fromkeys([*likes, *(c.text for c in asked.own(prompt.metadata))])
        rubrics.append(Rubric(tuple(Criterion("", question) for question in sorted(questions))))
    for prompt, pair, verdict in zip(prompts, pairs, judge.compare(prompts, pairs, rubrics), strict=True):
        gap, things = 0, [detection.detect(image) for image in pair]
        for check in verdict.checks:
            a, b = (asked.truth_of(check.question, prompt.metadata)(some) for some in things)
            kind = _kind(check.question)
            figures[f"rubric with tastes: criteria right, {kind}"] += [(check.a > 0.5) == a, (check.b > 0.5) == b]
            gap += int(a) - int(b)
        if gap:
            figures["rubric with tastes: verdict right"].append(verdict.outcome is (Outcome.A if gap > 0 else Outcome.B))
            figures["rubric with tastes: verdict wrong"].append(verdict.outcome is (Outcome.B if gap > 0 else Outcome.A))
        figures["rubric with tastes: order flips"].append(verdict.outcome is Outcome.INCONSISTENT)
    return dict(sorted(figures.items()))


def _named(judge: VLMJudge, prompts: Sequence[Prompt], pairs: Sequence[Pair]) -> dict[str, list[bool]]:
    """All that is true of the better picture alone, general criteria and tastes, of pairs with as many as may be named."""
    figures: dict[str, list[bool]] = defaultdict(list)
    labelled = [
        Preference(p.id, p, *pair, Outcome.B if _gap(p, pair) < 0 else Outcome.A)
        for p, pair in zip(prompts, pairs, strict=True)
    ]
    told = [_candidates(pair) for pair in labelled]
    rows = [i for i, some in enumerate(told) if 1 <= len(some) <= taught.MOST_NAMED]
    replies, _ = judge.writer.write_from_pairs([labelled[i] for i in rows], role="write_taste")
    for i, reply in zip(rows, replies, strict=True):
        written, true = _questions(reply), told[i]
        of_heldout = "with held-out ones" if true & taught.HELDOUT else "all taught"
        figures[f"candidates: exactly those that are true, {of_heldout}"].append(written == true)
        figures["candidates: a rubric"].append(bool(written))
        for question in sorted(written):
            figures[f"candidates: precision, {_kind(question)}"].append(question in true)
        for question in sorted(true):
            figures[f"candidates: coverage, {_kind(question)}"].append(question in written)
            if question in taught.HELDOUT:
                figures[f"candidates: coverage, {question}"].append(question in written)
    return dict(sorted(figures.items()))


def _candidates(pair: Preference) -> set[str]:
    better, worse = (detection.detect(i) for i in ((pair.a, pair.b) if pair.better is Outcome.A else (pair.b, pair.a)))
    general_ones = [c.text for c in asked.anyone(pair.prompt.metadata) if c.truth(better) and not c.truth(worse)]
    return {*general_ones, *(one.question for one in taught.differing(better, worse))}


def _kind(question: str) -> str:
    """Of a criterion: a taste that was taught, one held out, or none."""
    if question in taught.HELDOUT:
        return "held out"
    return "taught" if question in {one.question for one in taught.taught()} else "of prompts"


def _mistaken_rubric(pair: Preference, rng: np.random.Generator) -> Rubric:
    """Some of the prompt's criteria, and a question that the prompt does not ask."""
    mine = asked.own(pair.prompt.metadata)
    kept = [c.text for c in mine if rng.random() < 0.4]
    while (wrong := str(balanced_question(detection.detect(pair.a), rng, PROMPT_KINDS))) in _texts(mine):
        pass
    return Rubric(tuple(Criterion("", text) for text in (*kept, wrong)))


def _themes(reply: str | NoAnswer, criteria: Sequence[Criterion]) -> dict[str, str]:
    if isinstance(reply, NoAnswer):
        return {}
    try:
        return {c.question: c.theme for c in parse_structure(reply, criteria)}
    except RubricError:
        return {}


def _true_themes(criteria: Sequence[Criterion]) -> dict[str, str]:
    return {c.question: theme_of(c.question) for c in criteria}


def _texts(criteria: Sequence[Asked]) -> set[str]:
    return {c.text for c in criteria}


def _explaining(pair: Preference) -> set[str]:
    better, worse = (pair.a, pair.b) if pair.better is Outcome.A else (pair.b, pair.a)
    found, other = detection.detect(better), detection.detect(worse)
    return _texts([c for c in asked.own(pair.prompt.metadata) if c.truth(found) and not c.truth(other)])


def _questions(reply: str | NoAnswer) -> set[str]:
    """Of a rubric as it came back; none of what is no rubric."""
    if isinstance(reply, NoAnswer):
        return set()
    try:
        return {c.question for c in parse_rubric(reply, {}).criteria}
    except RubricError:
        return set()


def _gap(prompt: Prompt, pair: Pair) -> int:
    """By how many of the prompt's criteria the first picture is ahead."""
    first, second = (detection.detect(image) for image in pair)
    return sum(int(c.truth(first)) - int(c.truth(second)) for c in asked.own(prompt.metadata))


def _rate(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
