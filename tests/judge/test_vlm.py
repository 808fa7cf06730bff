"""The embedded judge: its forms are filled right, it knows the drawings, and what it cannot answer is a failure."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from arr_rpo.judge.forms import YES_NO, critique
from arr_rpo.judge.local_model import SHAPES_JUDGE
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.judge.wording import Wording, render
from arr_rpo.rubric.parse import parse_rubric
from arr_rpo.shapes.judge_data import balanced_question, name_things, varied_scene
from arr_rpo.shapes.prompts import describe, random_metadata
from arr_rpo.shapes.questions import questions_of
from arr_rpo.shapes.scene import draw, place
from arr_rpo.shapes.vocabulary import TAGS
from arr_rpo.types import Criterion, Outcome, Prompt, Rubric, UserError
from tests.conftest import make_judge

RED_CIRCLE = draw(place([("red", "circle")], [0], np.random.default_rng(0)))
BLUE_STARS = draw(place([("blue", "star"), ("blue", "star")], [1, 2], np.random.default_rng(1)))
RUBRIC = Rubric((Criterion("existence", "is there a red circle?"), Criterion("total", "is there exactly one object in total?")))
PROMPT = Prompt("1", "a photo of a red circle")


def test_it_says_what_it_sees(judge: VLMJudge) -> None:
    assert judge.descriptions([RED_CIRCLE, BLUE_STARS]) == [
        "upper left red circle",
        "upper right blue star, lower left blue star",
    ]


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


def test_filling_a_form_with_the_cache_is_filling_it_from_scratch(judge: VLMJudge) -> None:
    """Each slot's probabilities against a plain forward pass over everything before it, without cache and padding."""
    judge.descriptions([RED_CIRCLE, BLUE_STARS])
    short = judge._conversation([RED_CIRCLE], "is there a red circle?")
    text = Wording("shapes")("compare_rubric", prompt=PROMPT.text, rubric=render(RUBRIC))
    long = judge._conversation([RED_CIRCLE, BLUE_STARS], text)
    form = critique([c.question for c in RUBRIC.criteria])
    other = critique(["is there a star?", "are there exactly two blue stars?"])  # shorter here, longer there
    (_, filled), _ = judge.local.fill_batch([short, long], [other, form])  # the short one pads the batch on the left
    assert not isinstance(filled, Exception)
    batch = judge.local.encode([long])
    ids, slot = batch["input_ids"], 0
    for piece in form:
        if isinstance(piece, str):
            ids = torch.cat([ids, torch.tensor([judge.local.tokens(piece)])], 1)
            continue
        extra = ids.shape[1] - batch["input_ids"].shape[1]
        types = torch.nn.functional.pad(batch["mm_token_type_ids"], (0, extra))
        with torch.no_grad():
            logits = judge.local.model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=types,
                pixel_values=batch["pixel_values"],
                image_grid_thw=batch["image_grid_thw"],
            ).logits[0, -1]
        menu = [judge.local.one_token(choice) for choice in piece]
        expected = logits.softmax(-1)[menu] / logits.softmax(-1)[menu].sum()
        assert list(filled[slot].values()) == pytest.approx(expected.tolist(), abs=1e-4)
        ids = torch.cat([ids, torch.tensor([[menu[int(expected.argmax())]]])], 1)
        slot += 1
    assert slot == 7


def test_criteria_on_drawings(judge: VLMJudge) -> None:
    """400 balanced questions about new drawings. The measured figure stands in the model card; this is its floor."""
    rng = np.random.default_rng(123)
    scenes = [varied_scene(random_metadata(TAGS[i % 6], rng), rng) for i in range(400)]
    questions = [balanced_question(scene, rng) for scene in scenes]
    answers = judge.check([draw(s) for s in scenes], [str(q) for q in questions])
    right = [(p is not None and p > 0.5) == q.answer(s) for p, q, s in zip(answers, questions, scenes, strict=True)]
    named = [text == name_things(s) for text, s in zip(judge.descriptions([draw(s) for s in scenes]), scenes, strict=True)]
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
    replies, cost = judge.write([describe(c) for c in contents])
    for content, reply in zip(contents, replies, strict=True):
        rubric = parse_rubric(reply, {})
        assert {c.question for c in rubric.criteria} == {str(q) for q in questions_of(content)}
    assert cost.calls == len(contents)


def test_scores_lie_on_the_scale_and_prefer_the_right_picture(judge: VLMJudge) -> None:
    right, wrong = (s.value for s in judge.score([PROMPT, PROMPT], [RED_CIRCLE, BLUE_STARS]))
    assert right is not None
    assert wrong is not None
    assert 1 <= wrong < right <= 5


def test_an_answer_outside_the_menu_is_a_failure_not_a_number(judge: VLMJudge) -> None:
    strict = copy.copy(judge)
    strict.local = copy.copy(judge.local)
    strict.local.min_choice_mass = 1.1
    [verdict] = strict.compare([PROMPT], [(RED_CIRCLE, BLUE_STARS)], [RUBRIC])
    assert verdict.outcome is Outcome.FAILED
    assert verdict.p_a is None
    assert "A/B" in verdict.reason
    assert strict.score([PROMPT], [RED_CIRCLE])[0].value is None
    assert strict.check([RED_CIRCLE], ["is there a red circle?"]) == [None]


def test_nan_is_a_failure(judge: VLMJudge) -> None:
    form = (YES_NO,)
    assert isinstance(judge.local.accept([{"yes": float("nan"), "no": float("nan")}], float("nan"), form), Exception)


def test_a_revision_is_that_of_the_weights_wherever_they_lie(judge: VLMJudge, tmp_path: Path) -> None:
    """Rubrics are kept under it: another folder or another number of threads must not have them written again."""
    shutil.copytree(SHAPES_JUDGE, tmp_path / "copy")
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    copied = make_judge(checkpoint=str(tmp_path / "copy"))
    torch.set_num_threads(threads)
    assert copied.revision == judge.revision
    with torch.no_grad():
        next(copied.local.model.parameters()).view(-1)[0].add_(1e-3)
    assert copied.local.revision() != judge.revision


def test_missing_weights_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        make_judge(checkpoint=str(tmp_path))
