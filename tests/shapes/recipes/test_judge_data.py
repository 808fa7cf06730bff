"""Pictures, questions about them, and conversations as tokens: true, balanced, and weighed where answers stand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arr_rpo.judge.forms import A_B, verdict
from arr_rpo.shapes.recipes.judge_data import (
    FIXED_TEXT,
    LEARNT,
    Picture,
    Row,
    balanced_question,
    collate,
    look_up,
    name_things,
    of_like_length,
)
from arr_rpo.shapes.recipes.judge_parts import build_model, build_processor, see_together
from arr_rpo.shapes.recipes.teacher import VERDICT_WEIGHT, Teacher
from arr_rpo.shapes.world.prompts import random_metadata, varied_scene
from arr_rpo.shapes.world.scene import place
from arr_rpo.shapes.world.vocabulary import TAGS

RNG = np.random.default_rng(0)
CIRCLE = place([("red", "circle")], [0], RNG)
STARS = place([("blue", "star"), ("green", "star")], [1, 2], RNG)


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(build_processor())


def test_descriptions_name_what_stands_where() -> None:
    assert name_things(()) == "nothing"
    assert name_things(STARS[::-1]) == "upper right blue star, lower left green star"


def test_what_counts_of_a_form(teacher: Teacher) -> None:
    """Choices count in full, the verdict five times, the fixed text a tenth; what the judge is given counts nothing."""
    conversation = teacher.describing(Picture(CIRCLE), Picture(STARS))
    given = len(conversation.tokens)
    assert sum(conversation.weights) == 0
    form = verdict(["is there a red circle?"])
    conversation.fill(form, ["yes", "no", "1", "0", "A"], last=VERDICT_WEIGHT)
    reply = list(zip(teacher.tokenizer.convert_ids_to_tokens(conversation.tokens), conversation.weights, strict=True))[given:]
    assert [token for token, weight in reply if weight == LEARNT] == ["yes", "no", "1", "0"]
    assert [token for token, weight in reply if weight == VERDICT_WEIGHT] == ["A"]
    assert {weight for token, weight in reply if token in ('{"', "circle", "better", "<|im_end|>")} <= {FIXED_TEXT}
    text = '{"criteria":{"is there a red circle?":{"A":"yes","B":"no"}},"met":{"A":"1","B":"0"},"better":"A"}<|im_end|>'
    assert teacher.tokenizer.decode(conversation.tokens[given:]) == text
    assert teacher.tokenizer(text).input_ids == conversation.tokens[given:]  # what a server would read back


def test_a_bare_choice_is_its_own_reply(teacher: Teacher) -> None:
    conversation = teacher.describing(Picture(CIRCLE))
    given = len(conversation.tokens)
    conversation.fill(A_B, ["B"])
    assert teacher.tokenizer.decode(conversation.tokens[given:]) == "B<|im_end|>"


def test_a_picture_to_be_seen_has_its_description_learnt(teacher: Teacher) -> None:
    seen = teacher.describing(Picture(CIRCLE, torch.zeros(64, 96)), before="prompt: a photo of a star.\n")
    tokens = teacher.tokenizer.convert_ids_to_tokens(seen.tokens)
    learnt = [token for token, weight in zip(tokens, seen.weights, strict=True) if weight]
    assert learnt == ["upper", "Ġleft", "Ġred", "Ġcircle", "<|im_end|>"]
    assert not any(teacher.describing(Picture(CIRCLE)).weights)


def test_look_ups_are_true() -> None:
    answers = {look_up(STARS, np.random.default_rng(seed)) for seed in range(400)}
    assert ("what is upper right?", " blue star") in answers
    assert ("what is upper left?", " nothing") in answers
    assert ("where is a green star?", " lower left") in answers
    assert ("where is a star?", " upper right and lower left") in answers
    assert ("how many stars?", " two") in answers
    assert not any(question.startswith("how many red") and answer != " zero" for question, answer in answers)


def test_questions_are_balanced_where_pictures_allow_it() -> None:
    """As many yes as no of existence and total; of counting and position, few pictures have a yes to ask for."""
    rng = np.random.default_rng(1)
    answers: dict[str, list[bool]] = {}
    for index in range(2_000):
        scene = varied_scene(random_metadata(TAGS[index % 6], rng), rng)
        question = balanced_question(scene, rng)
        answers.setdefault(question.kind, []).append(question.answer(scene))
    share = {kind: sum(values) / len(values) for kind, values in answers.items()}
    assert 0.42 < share["existence"] < 0.58
    assert 0.42 < share["total"] < 0.58
    assert 0.03 < share["counting"] < 0.2
    assert 0.12 < share["position"] < 0.35


def test_padding_is_neither_attended_nor_learnt(teacher: Teacher) -> None:
    """A conversation's logits are the same alone and in a batch with a longer one."""
    torch.manual_seed(0)
    model = build_model(build_processor()).eval()
    short, long = teacher.describing(Picture(CIRCLE)), teacher.describing(Picture(CIRCLE), Picture(STARS))
    short.write("upper left")
    long.write("lower left")
    batch = collate([Row(short, 2, 1.0), Row(long, 0, 2.0)], 0, model.model.get_rope_index)
    weights, kinds = batch.pop("weights"), batch.pop("kinds")
    assert kinds.tolist() == [2, 0]
    assert weights[1].sum() == sum(long.weights) / 2 > 0
    with torch.no_grad():
        together = model(**batch).logits[0, : len(short.tokens)]
        alone = model(input_ids=torch.tensor([short.tokens])).logits[0]
    assert torch.allclose(together, alone, atol=1e-5)
    assert weights[0].sum() == len(teacher.tokenizer("upper left").input_ids) + 1
    assert not weights[0, len(short.tokens) :].any()


def test_conversations_of_like_length_go_together(teacher: Teacher) -> None:
    rows = [Row(teacher.describing(*[Picture(CIRCLE)] * n), 0, 1.0) for n in (1, 2, 1, 2, 1)]
    short, long = rows[0].length, rows[1].length
    parts = of_like_length(rows, 2 * long + 1)
    assert [[row.length for row in part] for part in parts] == [[long, long], [short] * 3]
    assert [len(part) for part in of_like_length(rows, 1)] == [1] * 5


def test_pictures_seen_together_are_seen_as_one_by_one(teacher: Teacher) -> None:
    """What the recipe gives the model beside tokens and pixels is what the model would have worked out itself."""
    processor = build_processor()
    model = build_model(processor)
    image_token = model.config.image_token_id
    rng = np.random.default_rng(3)
    seen = [Picture(CIRCLE, torch.tensor(rng.normal(size=(64, 96)), dtype=torch.half)) for _ in range(3)]
    rows = [Row(teacher.describing(*seen[:2]), 0, 1.0), Row(teacher.describing(seen[2]), 0, 1.0)]
    batch = collate(rows, image_token, model.model.get_rope_index)
    plain = {key: batch[key] for key in ("input_ids", "attention_mask", "pixel_values", "image_grid_thw")}
    with torch.no_grad():
        one_by_one = model(**plain, mm_token_type_ids=(batch["input_ids"] == image_token).int()).logits
        see_together(model)
        together = model(**{key: value for key, value in batch.items() if key not in ("weights", "kinds")}).logits
    there = batch["attention_mask"].bool()
    assert torch.allclose(one_by_one[there], together[there], atol=1e-5)
