"""What the judge is taught is what it will be asked: same tokens, and replies that are true."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch

from arr_rpo.judge.forms import grades, menus, read, verdict
from arr_rpo.judge.rubric_reply import parse_rubric
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.judge.wording import render
from arr_rpo.shapes.recipes.judge_data import Conversation, Group, Picture, Row, collate, name_things
from arr_rpo.shapes.recipes.judge_parts import build_processor
from arr_rpo.shapes.recipes.teacher import Teacher
from arr_rpo.shapes.world import general
from arr_rpo.shapes.world.edits import Edit, mistaken_edit, random_edit, target, to_metadata
from arr_rpo.shapes.world.questions import parse, questions_of
from arr_rpo.shapes.world.scene import draw, place
from arr_rpo.types import Criterion, Prompt, Rubric

RNG = np.random.default_rng(0)
CIRCLE = place([("red", "circle")], [0], RNG)
STARS = place([("blue", "star"), ("green", "star")], [1, 2], RNG)
METADATA = {"tag": "colors", "include": [{"class": "circle", "count": 1, "color": "red"}]}
OWN = [str(q) for q in questions_of(METADATA)]
PAIR = [Picture(CIRCLE), Picture(STARS)]
GROUP = Group(METADATA, (Picture(CIRCLE), Picture(STARS)))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(build_processor())


def said(conversation: Conversation, teacher: Teacher) -> list[str]:
    """Requests and replies in turn; the first is a request."""
    text = teacher.tokenizer.decode(conversation.tokens).removeprefix("<|user|>").removesuffix("<|im_end|>")
    return re.split(r"<\|assistant\|>|<\|im_end\|><\|user\|>", text)


def test_a_pair_is_laid_out_as_the_judge_will_ask(teacher: Teacher, judge: VLMJudge) -> None:
    """Token by token against the chat template and the conversation that `Asker` makes, up to the reply."""
    images = [draw(CIRCLE), draw(STARS)]
    processor = build_processor()
    pixels = processor.image_processor(images, return_tensors="pt")["pixel_values"].view(2, 64, -1)
    pictures = [Picture(scene, patches) for scene, patches in zip((CIRCLE, STARS), pixels, strict=True)]
    rubric = Rubric((Criterion("existence", OWN[0], theme="content"), Criterion("total", OWN[1], theme="numbers")))
    fields = {"prompt": "a photo of a red circle", "rubric": render(rubric)}
    before, after = teacher.wording("compare_rubric", **fields)
    conversation = teacher.describing(*pictures, before=before)
    conversation.user(after)
    judge.asker._seen = {}
    judge.asker.descriptions(images)
    judge.asker._seen = dict(zip(judge.asker._seen, map(name_things, (CIRCLE, STARS)), strict=True))
    asked = judge.asker.conversation("compare_rubric", Prompt("1", fields["prompt"]), images, rubric=fields["rubric"])
    encoded = processor.apply_chat_template(
        [asked], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    assert conversation.tokens == encoded["input_ids"][0].tolist()
    image_token = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    batch = collate([Row(conversation, 0, 1.0)], image_token, judge.asker.model.model.model.get_rope_index)
    assert torch.equal(batch["pixel_values"], encoded["pixel_values"])
    assert torch.equal(batch["image_grid_thw"], encoded["image_grid_thw"])


@pytest.mark.parametrize(("pair", "letter"), [(PAIR, "A"), (PAIR[::-1], "B")])
def test_the_picture_of_the_prompt_is_better(teacher: Teacher, pair: list[Picture], letter: str) -> None:
    assert said(teacher._compare(Group(METADATA, tuple(pair)), pair, np.random.default_rng(0)), teacher)[-1] == letter


def test_rubric_replies_are_true(teacher: Teacher) -> None:
    """In 200 lessons, every answer of a reply, its tally and its verdict, against the questions parsed back from the text."""
    own = shown_themes = 0
    for seed in range(200):
        turns = said(teacher._compare_by_rubric(GROUP, PAIR, np.random.default_rng(seed)), teacher)
        reply = json.loads(turns[-1])
        questions = list(reply["criteria"])
        read(verdict(questions), turns[-1])  # is a reply to the form that the judge will be given
        truths = {q: [truth(q, scene) for scene in (CIRCLE, STARS)] for q in questions}
        assert {q: [a["A"] == "yes", a["B"] == "yes"] for q, a in reply["criteria"].items()} == truths
        met = [sum(truth[side] for truth in truths.values()) for side in (0, 1)]
        assert reply["met"] == {"A": str(met[0]), "B": str(met[1])}
        if met[0] != met[1]:
            assert reply["better"] == "AB"[met[1] > met[0]]
        assert all(question in turns[0] for question in questions)
        own += questions == OWN
        shown_themes += "content:" in turns[0] or "numbers:" in turns[0] or "positions:" in turns[0] or "colors:" in turns[0]
    assert 60 < own < 160
    assert 25 < shown_themes < 80


def truth(question: str, scene: object) -> bool:
    name = general.NAMES.get(question)
    return parse(question).answer(scene) if name is None else general.answer(name, scene, METADATA)  # type: ignore[arg-type]


def test_writers_explain_a_preference(teacher: Teacher) -> None:
    rng = np.random.default_rng(0)
    turns = said(teacher._write_pair(GROUP, PAIR, 0, rng), teacher)
    assert [c.question for c in parse_rubric(turns[-1], {}).criteria] == OWN  # the stars meet neither
    assert "image A is better." in turns[-2]
    turns = said(teacher._write_general(GROUP, PAIR[::-1], 1, rng), teacher)
    assert {c.name for c in parse_rubric(turns[-1], {}).criteria} == {"objects", "colors", "numbers", "extras", "overall"}
    assert "image B is better." in turns[-2]


def test_a_plan_is_neutral_and_names_what_differs(teacher: Teacher) -> None:
    both = [Picture(CIRCLE), Picture((*CIRCLE, *STARS))]
    for pair in (both, both[::-1]):
        reply = said(teacher._plan(GROUP, pair, np.random.default_rng(0)), teacher)[-1]
        assert [c.question for c in parse_rubric(reply, {}).criteria] == ["is there exactly one object in total?"]
    same = said(teacher._plan(GROUP, [PAIR[0], PAIR[0]], np.random.default_rng(0)), teacher)[-1]
    assert [c.question for c in parse_rubric(same, {}).criteria] == OWN


def test_refining_keeps_what_is_right_and_drops_the_rest(teacher: Teacher) -> None:
    """The stars meet neither criterion of the prompt, so both explain the preference, whatever the rubric said."""
    for seed in range(50):
        turns = said(teacher._refine(GROUP, PAIR, 0, np.random.default_rng(seed)), teacher)
        assert [c.question for c in parse_rubric(turns[-1], {}).criteria] == OWN
        assert "image A is better, the rubric says" in turns[-2]


def test_one_picture_is_asked_about_in_every_role(teacher: Teacher) -> None:
    form = grades(general.DIMENSIONS)
    kinds = set()
    for seed in range(60):
        turns = said(teacher.single(GROUP, np.random.default_rng(seed), 8), teacher)
        assert turns[0].startswith("prompt: ")
        assert len(turns) >= 2 + 2 * 8
        for request, reply in zip(turns[2::2], turns[3::2], strict=True):
            kinds.add(request if request in general.NAMES else request.split()[0])
            if request.startswith("grade"):
                assert len(read(form, reply)) == len(menus(form))
    assert {"criticise", "grade", "score", "what", "where", "how", "is", "are"} | set(general.NAMES) <= kinds


def test_lists_are_structured_by_theme(teacher: Teacher) -> None:
    replies = [said(teacher.writing(GROUP, np.random.default_rng(seed)), teacher) for seed in range(60)]
    lists = [turns for turns in replies if turns[0].startswith("criteria:")]
    assert 8 < len(lists) < 32
    for asked, reply in lists:
        questions = [line.split(". ", 1)[1] for line in asked.splitlines() if line[:1].isdigit()]
        themes = json.loads(reply)["themes"]
        assert sorted(n for theme in themes for n in theme["criteria"]) == list(range(1, len(questions) + 1))
        assert all(general.theme_of(questions[n - 1]) == theme["theme"] for theme in themes for n in theme["criteria"])


# -- edits -----------------------------------------------------------------------------------------------------------------

SOURCE = place([("red", "circle"), ("green", "star")], [0, 3], RNG)
RECOLOUR = Edit("recolour", "red", "circle", 0, "blue", "circle", 0)
MADE, UNCHANGED = place([("blue", "circle"), ("green", "star")], [0, 3], RNG), SOURCE
EDITED = Group(to_metadata(SOURCE, RECOLOUR), (Picture(MADE), Picture(UNCHANGED)), Picture(SOURCE))
TOLD = ["is there a blue circle upper left?", "is there a green star lower right?", "are there exactly two objects in total?"]


def test_an_edit_shows_its_source_first_as_the_judge_will_ask(teacher: Teacher, judge: VLMJudge) -> None:
    pictures = [draw(SOURCE), draw(MADE), draw(UNCHANGED)]
    processor = build_processor()
    pixels = processor.image_processor(pictures, return_tensors="pt")["pixel_values"].view(3, 64, -1)
    source, a, b = (Picture(s, patches) for s, patches in zip((SOURCE, MADE, UNCHANGED), pixels, strict=True))
    before, after = teacher.wording("compare", edit=True, prompt="make the red circle blue")
    conversation = teacher.describing(a, b, source=source, before=before)
    conversation.user(after)
    prompt = Prompt("1", "make the red circle blue", source=pictures[0])
    judge.asker._seen = {}
    judge.asker.look([prompt], pictures[1:])
    judge.asker._seen = {key: name_things(SOURCE if i else MADE) for i, key in enumerate(judge.asker._seen)}
    asked = judge.asker.conversation("compare", prompt, pictures[1:])
    encoded = processor.apply_chat_template(
        [asked], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    assert conversation.tokens == encoded["input_ids"][0].tolist()


def test_the_rubric_of_an_edit_is_written_from_the_source(teacher: Teacher) -> None:
    """Every rubric names what the true edit meets, whatever else the source holds."""
    seen = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        source, edit = random_edit(rng)
        turns = said(teacher.writing(Group(to_metadata(source, edit), (), Picture(source)), rng), teacher)
        if not turns[0].startswith("edit: "):
            continue
        seen += 1
        criteria = parse_rubric(turns[-1], {}).criteria
        names = [c.name for c in criteria]
        assert names == sorted(names)  # instruction before preservation
        assert {"instruction", "preservation"} == set(names)
        assert all(parse(c.question).answer(target(source, edit, rng)) for c in criteria)
    assert seen > 30


def test_whoever_writes_of_an_edit_is_shown_its_source(teacher: Teacher) -> None:
    """As the judge will ask: a writer that was never shown a source wrote 16% of the rubrics right."""
    pixels = torch.zeros(64, 96, dtype=torch.float16)
    group = dataclasses.replace(EDITED, source=Picture(SOURCE, pixels))
    lessons = [teacher.writing(group, np.random.default_rng(seed)) for seed in range(20)]
    shown = [len(lesson.pixels) for lesson in lessons if said(lesson, teacher)[0].startswith("edit: ")]
    assert len(shown) > 8
    assert set(shown) == {1}


@pytest.mark.parametrize("better", [0, 1])
def test_what_explains_a_preference_among_edits_is_the_instruction(teacher: Teacher, better: int) -> None:
    pair = [Picture(MADE), Picture(UNCHANGED)][:: 1 if better == 0 else -1]
    turns = said(teacher._write_pair(EDITED, pair, better, np.random.default_rng(0)), teacher)
    assert [(c.name, c.question) for c in parse_rubric(turns[-1], {}).criteria] == [("instruction", TOLD[0])]
    assert turns[0].startswith("edit: ")
    assert turns[1] == name_things(SOURCE)


def test_rubric_replies_about_edits_are_true(teacher: Teacher) -> None:
    """Answers, parsed back from the text, of 100 lessons on random edits."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        source, edit = random_edit(rng)
        pair = [Picture(mistaken_edit(source, edit, rng)) for _ in "ab"]
        group = Group(to_metadata(source, edit), tuple(pair), Picture(source))
        reply = json.loads(said(teacher._compare_by_rubric(group, pair, rng), teacher)[-1])
        for question, answers in reply["criteria"].items():
            if question in general.EDIT_NAMES:
                name = general.EDIT_NAMES[question]
                truths = [general.edit_answer(name, p.things, source, edit) for p in pair]
            else:
                truths = [parse(question).answer(p.things) for p in pair]
            assert [answers["A"] == "yes", answers["B"] == "yes"] == truths


def test_general_criteria_of_edits_by_hand() -> None:
    def answers(things: object) -> list[bool]:
        return [general.edit_answer(name, things, SOURCE, RECOLOUR) for name in general.EDIT_GENERAL]  # type: ignore[arg-type]

    assert answers(MADE) == [True] * 5  # instruction, others, places, extras, overall
    assert answers(UNCHANGED) == [False, True, True, True, False]
    assert answers(MADE[:1]) == [True, False, False, True, False]
    moved = place([("blue", "circle"), ("green", "star")], [0, 2], RNG)
    assert answers(moved) == [True, True, False, True, False]
    more = (*MADE, *place([("red", "star")], [1], RNG))
    assert answers(more) == [True, True, True, False, False]
    said_of_it = general.edit_critique_text(more[:1] + more[2:], SOURCE, RECOLOUR)
    assert said_of_it == "instruction: right. preservation: no green star lower right. extras: a red star upper right."
    grades_of_it = general.edit_dimension_grades(more[:1] + more[2:], SOURCE, RECOLOUR)
    assert grades_of_it == {"instruction": "4", "preservation": "1", "extras": "3", "overall": "3"}
