"""What the judge is taught is what it will be asked: same tokens, labels where answers stand, answers that are true."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from arr_rpo.judge.forms import critique
from arr_rpo.judge.vlm import VLMJudge, _digest
from arr_rpo.shapes.judge_data import (
    Conversation,
    Group,
    Picture,
    Teacher,
    balanced_question,
    collate,
    look_up,
    name_things,
    varied_scene,
)
from arr_rpo.shapes.judge_parts import build_model, build_processor
from arr_rpo.shapes.prompts import random_metadata
from arr_rpo.shapes.questions import parse, questions_of
from arr_rpo.shapes.scene import Scene, draw, place
from arr_rpo.shapes.vocabulary import TAGS

RNG = np.random.default_rng(0)
CIRCLE = place([("red", "circle")], [0], RNG)
STARS = place([("blue", "star"), ("green", "star")], [1, 2], RNG)
PROMPT = {"tag": "colors", "include": [{"class": "circle", "count": 1, "color": "red"}]}


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(build_processor())


def learnt(conversation: Conversation, teacher: Teacher) -> list[str]:
    tokens = [label for label in conversation.labels if label != -100]
    return list(teacher.tokenizer.convert_ids_to_tokens(tokens))


def test_descriptions_name_what_stands_where() -> None:
    assert name_things(()) == "nothing"
    assert name_things(STARS[::-1]) == "upper right blue star, lower left green star"


def test_a_pair_is_laid_out_as_the_judge_will_ask(teacher: Teacher, judge: VLMJudge) -> None:
    """Token by token against the chat template that `VLMJudge` uses, up to the reply."""
    images = [draw(CIRCLE), draw(STARS)]
    pixels = judge.local.processor.image_processor(images, return_tensors="pt")["pixel_values"].view(2, 64, -1)
    pictures = [Picture(scene, patches) for scene, patches in zip((CIRCLE, STARS), pixels, strict=True)]
    conversation = teacher.describing(*pictures)
    conversation.user(judge.wording("compare", prompt="a photo of a red circle"))
    judge._seen = {key: name_things(s) for key, s in zip(map(_digest, images), (CIRCLE, STARS), strict=True)}
    asked = judge.local.encode([judge._conversation(images, judge.wording("compare", prompt="a photo of a red circle"))])
    assert conversation.tokens == asked["input_ids"][0].tolist()
    batch = collate([conversation], judge.local.model.config.image_token_id)
    assert torch.equal(batch["pixel_values"], asked["pixel_values"])
    assert torch.equal(batch["image_grid_thw"], asked["image_grid_thw"])
    assert torch.equal(batch["mm_token_type_ids"], asked["mm_token_type_ids"].int())


def test_only_answers_are_learnt_of_a_form(teacher: Teacher) -> None:
    conversation = teacher.describing(Picture(CIRCLE), Picture(STARS))
    conversation.fill(critique(["is there a red circle?"]), ["yes", "no", "1", "0", "A"])
    assert learnt(conversation, teacher) == ["yes", "no", "1", "0", "A"]


def test_a_picture_to_be_seen_has_its_description_learnt(teacher: Teacher) -> None:
    seen = teacher.describing(Picture(CIRCLE, torch.zeros(64, 96)))
    assert learnt(seen, teacher) == ["upper", "Ġleft", "Ġred", "Ġcircle", "<|im_end|>"]
    assert learnt(teacher.describing(Picture(CIRCLE)), teacher) == []


@pytest.mark.parametrize(("pair", "letter"), [((CIRCLE, STARS), "A"), ((STARS, CIRCLE), "B")])
def test_the_picture_of_the_prompt_is_better(teacher: Teacher, pair: tuple[Scene, Scene], letter: str) -> None:
    pictures = [Picture(scene) for scene in pair]
    conversation = teacher.describing(*pictures)
    teacher._compare(conversation, Group(PROMPT, tuple(pictures)), pictures, np.random.default_rng(0))
    assert learnt(conversation, teacher) == [letter]


def test_rubric_replies_are_true(teacher: Teacher) -> None:
    """In 200 lessons, every line of a reply, its tally and its verdict, against the questions parsed back from the text."""
    own = 0
    for seed in range(200):
        pictures = [Picture(CIRCLE), Picture(STARS)]
        conversation = teacher.describing(*pictures)
        teacher._compare_by_rubric(conversation, Group(PROMPT, tuple(pictures)), pictures, np.random.default_rng(seed))
        reply = teacher.tokenizer.decode(conversation.tokens).split("<|assistant|>")[-1]
        lines = re.findall(r"\d\. (.*\?) A:(yes|no) B:(yes|no)", reply)
        truths = [[parse(question).answer(scene) for scene in (CIRCLE, STARS)] for question, _, _ in lines]
        assert [(a == "yes", b == "yes") for _, a, b in lines] == [tuple(truth) for truth in truths]
        met_a, met_b = (sum(truth[side] for truth in truths) for side in (0, 1))
        assert f"score A:{met_a} B:{met_b}\n" in reply
        if met_a != met_b:
            assert reply.endswith(f"better:{'A' if met_a > met_b else 'B'}<|im_end|>")
        own += [q for q, _, _ in lines] == [str(q) for q in questions_of(PROMPT)]
    assert 60 < own < 160  # the prompt's own rubric about half of the time


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
    """A conversation's loss is the same alone and in a batch with a longer one."""
    torch.manual_seed(0)
    model = build_model(build_processor()).eval()
    rng = np.random.default_rng(2)
    short, long = teacher.writing(rng), teacher.pair(Group(PROMPT, (Picture(CIRCLE), Picture(STARS))), rng)
    assert len(short.tokens) < len(long.tokens)
    batch = collate([short, long], 0)
    labels = batch.pop("labels")
    with torch.no_grad():
        together = model(**batch).logits[0, : len(short.tokens)]
        alone = model(input_ids=torch.tensor([short.tokens])).logits[0]
    assert torch.allclose(together, alone, atol=1e-5)
    assert (labels[0, len(short.tokens) :] == -100).all()
