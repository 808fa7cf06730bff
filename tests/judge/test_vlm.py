"""The embedded judge: its forms are filled right, it knows the drawings, and what it cannot answer is a failure."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.local.loading import EMBEDDED
from arr_rpo.judge.rubric_reply import RubricError, parse_rubric
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.recipes.judge_data import PROMPT_KINDS, balanced_question, name_things
from arr_rpo.shapes.world import general
from arr_rpo.shapes.world.prompts import describe, random_metadata, varied_scene
from arr_rpo.shapes.world.questions import questions_of
from arr_rpo.shapes.world.scene import draw, place
from arr_rpo.shapes.world.vocabulary import TAGS
from arr_rpo.types import Criterion, Outcome, Preference, Prompt, Rubric, UserError
from tests.conftest import make_judge

RED_CIRCLE = draw(place([("red", "circle")], [0], np.random.default_rng(0)))
BLUE_STARS = draw(place([("blue", "star"), ("blue", "star")], [1, 2], np.random.default_rng(1)))
RUBRIC = Rubric((Criterion("existence", "is there a red circle?"), Criterion("total", "is there exactly one object in total?")))
PROMPT = Prompt("1", "a photo of a red circle")


def test_it_says_what_it_sees(judge: VLMJudge) -> None:
    seen, cost = judge.asker.descriptions([RED_CIRCLE, BLUE_STARS, RED_CIRCLE.copy()])
    assert seen == ["upper left red circle", "upper right blue star, lower left blue star", "upper left red circle"]
    assert cost.calls == 2  # a copy is the same image


def test_the_order_of_a_pair_is_undone(judge: VLMJudge) -> None:
    """Asking about (B, A) is asking about (A, B) with names exchanged: both orders are asked either way."""
    forwards, backwards = judge.compare([PROMPT] * 2, [(RED_CIRCLE, BLUE_STARS), (BLUE_STARS, RED_CIRCLE)], [RUBRIC] * 2)
    assert forwards.p_a is not None
    assert backwards.p_a is not None
    assert forwards.p_a == pytest.approx(1 - backwards.p_a, abs=1e-4)
    assert [(c.a, c.b) for c in forwards.checks] == [pytest.approx((c.b, c.a), abs=1e-4) for c in backwards.checks]
    assert forwards.checks[1].a > 0.5 > forwards.checks[1].b  # one object in total?
    assert forwards.cost.calls >= 2
    assert forwards.cost.tokens > 100


def test_criteria_on_drawings(judge: VLMJudge) -> None:
    """400 balanced questions about new drawings. The measured figure stands in the model card; this is its floor."""
    rng = np.random.default_rng(123)
    contents = [random_metadata(TAGS[i % 6], rng) for i in range(400)]
    scenes = [varied_scene(content, rng) for content in contents]
    questions = [balanced_question(scene, rng, PROMPT_KINDS) for scene in scenes]
    images, prompts = [draw(s) for s in scenes], [Prompt(str(i), describe(content)) for i, content in enumerate(contents)]
    answers = judge.check(prompts, images, [str(q) for q in questions])
    right = [(a.value is not None and a.value > 0.5) == q.answer(s) for a, q, s in zip(answers, questions, scenes, strict=True)]
    named = [text == name_things(s) for text, s in zip(judge.asker.descriptions(images)[0], scenes, strict=True)]
    assert sum(named) / 400 >= 0.97
    assert sum(right) / 400 >= 0.88


def test_verdicts_follow_the_rubric(judge: VLMJudge) -> None:
    """200 pairs of drawings made for a prompt, judged by its rubric. The measured figures stand in the model card."""
    rng = np.random.default_rng(124)
    contents = [random_metadata(TAGS[i % 6], rng) for i in range(200)]
    scenes = [(varied_scene(content, rng), varied_scene(content, rng)) for content in contents]
    questions = [questions_of(content) for content in contents]
    verdicts = judge.compare(
        [Prompt(str(i), describe(content)) for i, content in enumerate(contents)],
        [(draw(a), draw(b)) for a, b in scenes],
        [Rubric(tuple(Criterion(q.kind, str(q)) for q in asked)) for asked in questions],
    )
    gaps = [sum(q.answer(a) - q.answer(b) for q in asked) for asked, (a, b) in zip(questions, scenes, strict=True)]
    decided = [(v.outcome, gap) for v, gap in zip(verdicts, gaps, strict=True) if gap]
    right = sum(outcome is (Outcome.A if gap > 0 else Outcome.B) for outcome, gap in decided)
    wrong = sum(outcome is (Outcome.B if gap > 0 else Outcome.A) for outcome, gap in decided)
    assert len(decided) > 100
    assert right / len(decided) >= 0.75
    assert wrong / len(decided) <= 0.04


def test_it_writes_the_rubric_of_a_prompt(judge: VLMJudge) -> None:
    rng = np.random.default_rng(5)
    contents = [random_metadata(tag, rng) for tag in TAGS]
    replies, cost = judge.writer.write([Prompt(str(i), describe(c)) for i, c in enumerate(contents)])
    for content, reply in zip(contents, replies, strict=True):
        rubric = parse_rubric(reply, {})
        assert {c.question for c in rubric.criteria} == {str(q) for q in questions_of(content)}
    assert cost.calls == len(contents)


def _labelled(number: int, seed: int) -> list[Preference]:
    """Pairs of drawings of a prompt, one better by the prompt's criteria."""
    rng, pairs = np.random.default_rng(seed), []
    while len(pairs) < number:
        content = random_metadata(TAGS[len(pairs) % 6], rng)
        scenes = varied_scene(content, rng), varied_scene(content, rng)
        a, b = (sum(q.answer(scene) for q in questions_of(content)) for scene in scenes)
        if a != b:
            prompt = Prompt(str(len(pairs)), describe(content), content)
            pairs.append(Preference(prompt.id, prompt, *map(draw, scenes), Outcome.A if a > b else Outcome.B))
    return pairs


def test_what_it_writes_from_a_pair_explains_the_preference(judge: VLMJudge) -> None:
    """Of 60 pairs, criteria that are the prompt's own, which the judge cannot copy from anywhere but the prompt."""
    pairs = _labelled(60, 6)
    replies, _ = judge.writer.write_from_pairs(pairs, role="write_pair")
    own = []
    for pair, reply in zip(pairs, replies, strict=True):
        questions = {str(q) for q in questions_of(pair.prompt.metadata)}
        own += [question in questions for question in _questions(reply) or ["no rubric"]]
    assert sum(own) / len(own) >= 0.8


def test_a_plan_names_what_differs(judge: VLMJudge) -> None:
    """Of 60 pairs, the planned questions on which the oracle sees a difference; the order of a pair is not to matter much."""
    pairs = _labelled(60, 7)
    prompts = [p.prompt for p in pairs]
    plans, _ = judge.plan(prompts, [(p.a, p.b) for p in pairs])
    split = []
    for pair, plan in zip(pairs, plans, strict=True):
        things_a, things_b = detection.detect(pair.a), detection.detect(pair.b)
        different = {str(q) for q in questions_of(pair.prompt.metadata) if q.answer(things_a) != q.answer(things_b)}
        split += [question in different for question in _questions(plan) or ["no plan"]]
    assert sum(split) / len(split) >= 0.6


def _questions(reply: str | NoAnswer) -> list[str]:
    if isinstance(reply, NoAnswer):
        return []
    try:
        return [c.question for c in parse_rubric(reply, {}).criteria]
    except RubricError:
        return []


def test_a_critique_comes_before_the_grades(judge: VLMJudge) -> None:
    right, wrong = judge.critique([PROMPT, PROMPT], [RED_CIRCLE, BLUE_STARS], general.DIMENSIONS)
    assert right.text == "objects: right. colors: right. numbers: right. positions: NA. extras: nothing."
    assert wrong.text.startswith("objects: no circle.")
    assert right.dimensions["positions"] is None
    assert right.value is not None
    assert wrong.value is not None
    assert 1 <= wrong.value < right.value <= 4
    assert right.cost.calls >= 3  # a description, a critique, grades


def test_scores_lie_on_the_scale_and_prefer_the_right_picture(judge: VLMJudge) -> None:
    right, wrong = (s.value for s in judge.score([PROMPT, PROMPT], [RED_CIRCLE, BLUE_STARS]))
    assert right is not None
    assert wrong is not None
    assert 1 <= wrong < right <= 5


def test_an_answer_outside_the_menu_is_a_failure_not_a_number() -> None:
    strict = make_judge("judge.model.min_choice_mass=1.1")
    [verdict] = strict.compare([PROMPT], [(RED_CIRCLE, BLUE_STARS)], [RUBRIC])
    assert verdict.outcome is Outcome.FAILED
    assert verdict.p_a is None
    assert "A/B" in verdict.reason
    assert strict.score([PROMPT], [RED_CIRCLE])[0].value is None
    [answer] = strict.check([PROMPT], [RED_CIRCLE], ["is there a red circle?"])
    assert answer.value is None
    assert answer.reason
    judge = make_judge("judge.model.min_choice_mass=1.1")
    [critique] = judge.critique([PROMPT], [RED_CIRCLE], general.DIMENSIONS)
    assert critique.value is None


def test_a_revision_is_that_of_the_weights_wherever_they_lie(judge: VLMJudge, tmp_path: Path) -> None:
    """Rubrics are kept under it: another folder or another number of threads must not have them written again."""
    shutil.copytree(EMBEDDED["shapes"], tmp_path / "copy")
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    copied = make_judge(f"judge.model.checkpoint={tmp_path / 'copy'}")
    torch.set_num_threads(threads)
    assert copied.revision == judge.revision
    with torch.no_grad():
        next(copied.asker.model.model.parameters()).view(-1)[0].add_(1e-3)  # type: ignore[attr-defined]
    assert copied.asker.model.revision() != judge.revision


def test_missing_weights_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InstantiationException) as error:
        make_judge(f"judge.model.checkpoint={tmp_path}")
    assert isinstance(error.value.__cause__, UserError)
    assert str(tmp_path) in str(error.value.__cause__)
