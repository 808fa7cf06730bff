"""What the judge is taught of tastes: true answers, all that is true named, and nothing of held-out annotators."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from arr_rpo.judge.rubric_reply import parse_rubric
from arr_rpo.shapes.annotators.people import annotators
from arr_rpo.shapes.recipes import taught
from arr_rpo.shapes.recipes.judge_data import Conversation, Group, Picture
from arr_rpo.shapes.recipes.judge_parts import build_processor
from arr_rpo.shapes.recipes.judge_pictures import Pools, following, imagined, imagined_open
from arr_rpo.shapes.recipes.lesson_criteria import to_mend_with_tastes
from arr_rpo.shapes.recipes.teacher import Teacher
from arr_rpo.shapes.world import asked
from arr_rpo.shapes.world.open_prompts import is_open
from arr_rpo.shapes.world.questions import Located
from arr_rpo.shapes.world.scene import place
from arr_rpo.shapes.world.tastes import TASTES, everything, taste
from arr_rpo.shapes.world.vocabulary import CELLS, TAGS
from arr_rpo.types import UserError

HELDOUT = {one.question for who in annotators().values() if who.group == "heldout" for one, _ in who.tastes}
EVERYTHING = {one.question for one in everything()}
PLACES = re.compile(rf"({'|'.join(CELLS)}) (\w+) (\w+)")
ONLY_IN_LOOK_UPS = {"different", "colors"}  # words of held-out tastes that stand in no taste that is taught
Things = list[Located]


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher(build_processor(), tastes=0.5)


def said(conversation: Conversation, teacher: Teacher) -> list[str]:
    text = teacher.tokenizer.decode(conversation.tokens).removeprefix("<|user|>").removesuffix("<|im_end|>")
    return re.split(r"<\|assistant\|>|<\|im_end\|><\|user\|>", text)


def described(text: str) -> Things:
    """The things of a description, read back."""
    found = PLACES.findall(text)
    cells = [CELLS.index(cell) for cell, *_ in found]
    return list(place([(color, shape) for _, color, shape in found], cells, np.random.default_rng(0)))


def of_taste(question: str) -> bool:
    return question in EVERYTHING


def test_twenty_tastes_are_never_taught() -> None:
    assert len(HELDOUT) == 20
    assert {one.question for one in taught.taught()} == EVERYTHING - HELDOUT
    assert {one.question for one in taught.in_order()} == EVERYTHING
    assert len(taught.in_order()) == len(EVERYTHING)
    assert taught.ASKED_BEFORE < HELDOUT
    assert all(asked.parse(question).kind in ("place", "empty") for question in taught.ASKED_BEFORE)
    assert not any(asked.parse(q).kind in ("place", "empty") for q in HELDOUT - set(TASTES) - taught.ASKED_BEFORE)


def test_answers_about_tastes_are_true_and_balanced(teacher: Teacher) -> None:
    answers: Counter[bool] = Counter()
    times: Counter[str] = Counter()
    for seed in range(400):
        rng = np.random.default_rng(seed)
        turns = said(teacher.single(imagined(0.0, rng), rng, 12), teacher)
        things = described(turns[1])
        for request, reply in zip(turns[2::2], turns[3::2], strict=True):
            if request in TASTES or (of_taste(request) and reply in ("yes", "no")):
                assert (reply == "yes") == taste(request).truth(things), (request, turns[1])
            if request in TASTES:
                answers[reply == "yes"] += 1
                times[request] += 1
            if request == taught.COLORS_ASKED:
                assert reply.strip() == ("zero", "one", "two", "three", "four")[len({t.color for t in things})]
    assert sum(answers.values()) > 500
    assert 0.42 < answers[True] / sum(answers.values()) < 0.58
    assert len(times) == len(set(TASTES) - HELDOUT)
    assert max(times.values()) < 8 * np.median(list(times.values()))


def test_all_that_is_true_of_the_better_picture_alone_is_named(teacher: Teacher) -> None:
    """Against every taste and general criterion there is: no more, no less, in one order, and no held-out one among them."""
    named, order = 0, [one.question for one in taught.in_order()]
    for seed in range(400):
        rng = np.random.default_rng(seed)
        group = imagined_open(rng) if seed % 2 else imagined(0.0, rng)
        if (conversation := teacher.naming(group, rng)) is None:
            continue
        turns = said(conversation, teacher)
        pair = [described(text) for text in turns[1:4:2]]
        better = "AB".index(re.findall(r"image ([AB]) is better. name all that is true of it alone.", turns[-2])[0])
        questions = [c.question for c in parse_rubric(turns[-1], {}).criteria]
        true = [q for q in order if taste(q).truth(pair[better]) and not taste(q).truth(pair[1 - better])]
        assert [q for q in questions if of_taste(q)] == true
        assert HELDOUT.isdisjoint(questions)
        general = [c for c in asked.anyone(group.metadata) if c.truth(pair[better]) and not c.truth(pair[1 - better])]
        assert [q for q in questions if not of_taste(q)] == [c.text for c in general]
        named += 1
    assert named > 20


def test_rubrics_with_tastes_are_judged_truly(teacher: Teacher) -> None:
    with_tastes = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        turns = said(teacher._compare_by_rubric(imagined(0.0, rng), _two(rng), rng), teacher)
        pair, reply = [described(text) for text in turns[1:4:2]], json.loads(turns[-1])
        likes = {question: answer for question, answer in reply["criteria"].items() if of_taste(question)}
        for question, answer in likes.items():
            assert [answer["A"] == "yes", answer["B"] == "yes"] == [taste(question).truth(things) for things in pair]
        with_tastes += any(question in TASTES for question in likes)
        met = [sum(answer[letter] == "yes" for answer in reply["criteria"].values()) for letter in "AB"]
        assert met[0] == met[1] or reply["better"] == "AB"[met[1] > met[0]]
    assert 50 < with_tastes < 150


def _two(rng: np.random.Generator) -> list[object]:
    return list(imagined(0.0, rng).pictures[:2])  # type: ignore[return-value]


def test_a_rubric_with_tastes_is_mended_by_what_the_pair_contradicts() -> None:
    seen = 0
    for seed in range(1500):
        rng = np.random.default_rng(seed)
        group = imagined_open(rng)
        pair = list(group.pictures[:2])
        if (mending := to_mend_with_tastes(group.metadata, pair, 0, rng)) is None:
            continue
        given, kept = ({asked.text for asked in some} for some in (mending.given, mending.target))
        against = {q for q in given if of_taste(q) and not _met(q, pair[0].things) and _met(q, pair[1].things)}
        explaining = {q for q in EVERYTHING if _met(q, pair[0].things) and not _met(q, pair[1].things)}
        assert kept == (given - against) | explaining
        seen += 1
    assert seen > 50


def _met(question: str, things: object) -> bool:
    return taste(question).truth(things)  # type: ignore[arg-type]


@pytest.mark.slow
def test_no_taste_of_a_held_out_annotator_is_asked_or_named(teacher: Teacher) -> None:
    """In thousands of lessons of every role, but for those that were asked before as questions of prompts."""
    found: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        group = imagined(0.3, rng) if seed % 3 else imagined_open(rng)
        made = [teacher.single(group, rng, 6), teacher.pair(group, rng), teacher.writing(group, rng)]
        if "edit" not in group.metadata:
            made += [c for c in [teacher.naming(group, rng)] if c is not None]
        for conversation in made:
            text = teacher.tokenizer.decode(conversation.tokens)
            found.update(q for q in HELDOUT if q in text)
            lines.update(q for q in ("different colors", "lower row", "right column", "in one column") if q in text)
    assert set(found) <= taught.ASKED_BEFORE, found
    assert set(lines) <= {"different colors", "lower row", "right column"}  # in look-ups


def test_a_lesson_without_tastes_is_what_it_was() -> None:
    """No word of tastes that is none of prompts."""
    plain = Teacher(build_processor())
    for seed in range(200):
        rng = np.random.default_rng(seed)
        group = imagined(0.3, rng)
        for conversation in (plain.single(group, rng, 6), plain.pair(group, rng), plain.writing(group, rng)):
            text = plain.tokenizer.decode(conversation.tokens)
            assert not any(question in text for question in TASTES)


def test_every_word_of_tastes_is_a_token_and_todays_texts_have_as_many_as_before() -> None:
    tokenizer = build_processor().tokenizer
    assert len(tokenizer) <= 1100
    texts = [*taught.texts(), "image A is better. name all that is true of it alone.", '{"name":"taste","question":"is']
    for text in texts:
        words = re.findall(r'[\[{":,}\]]+|\w+|[?.]', text)
        assert len(tokenizer(text).input_ids) <= len(words), text
    before = AutoTokenizer.from_pretrained(Path(asked.__file__).parents[1] / "weights" / "judge", local_files_only=True)
    plain = Teacher(build_processor())
    for seed in range(100):
        rng = np.random.default_rng(seed)
        group = imagined(0.4, rng)
        for conversation in (plain.single(group, rng, 6), plain.pair(group, rng), plain.writing(group, rng)):
            assert len(before(tokenizer.decode(conversation.tokens)).input_ids) >= len(conversation.tokens)


def test_what_is_shared_with_held_out_tastes_is_words() -> None:
    """Of each held-out taste every word stands in some taught taste, but two, which look-ups say."""
    words = set(itertools.chain.from_iterable(re.findall(r"\w+", one.question) for one in taught.taught()))
    missing = {word for question in HELDOUT for word in re.findall(r"\w+", question)} - words
    assert missing == ONLY_IN_LOOK_UPS


def test_open_prompts_leave_something_open() -> None:
    rng = np.random.default_rng(0)
    contents = [taught.open_prompt(rng) for _ in range(200)]
    assert all(is_open(content) for content in contents)
    assert {content["tag"] for content in contents} == {*TAGS, "one_color"} - {"position"}
    assert all(sum("color" in entry for entry in c["include"]) == 1 for c in contents if c["tag"] == "one_color")


def test_pictures_that_do_not_follow_a_prompt_are_left_out() -> None:
    """Else what differs would not be taste alone."""
    metadata = {"tag": "two_object", "include": [{"class": "circle", "count": 1}, {"class": "star", "count": 1}]}
    right = [place([("red", "circle"), (color, "star")], [0, 1], np.random.default_rng(0)) for color in ("blue", "red")]
    group = Group(metadata, (Picture(right[0]), Picture(right[0][:1]), Picture(right[1])))
    assert [picture.things for picture in following(group).pictures] == right
    pools = Pools([group, replace(group, pictures=group.pictures[:2])], [], [], [])
    assert pools.any_open(np.random.default_rng(0)) == following(group)
    with pytest.raises(UserError, match="more drawn_groups"):
        Pools([], [], [], []).any_open(np.random.default_rng(0))
