"""What a model may write, and what it must come to: an answer where nothing else could be meant, and else none, and why.

Each row is a reply and what it is read as. `verdict` has two forms: the object of a comparison, and bare menus.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from arr_rpo.judge.forms import A_B, DIMENSION_GRADES, GRADES, YES_NO, Form, NoAnswer, grades, verdict
from arr_rpo.judge.generated import filled
from arr_rpo.judge.replies import words
from arr_rpo.judge.written import CRITERIA, prompt, read_written, themes
from arr_rpo.types import Cost, Criterion, Reason

ASKED = verdict(["is it red?"])
GOOD = '{"criteria":{"is it red?":{"A":"yes","B":"no"}},"met":{"A":"1","B":"0"},"better":"A"}'
READ = ["yes", "no", "1", "0", "A"]
GRADED = grades(["colours"])
FAIR = '{"colours":"3","overall":"4"}'
B_WINS = GOOD.replace('"better":"A"', '"better":"B"')
INDENTED = json.dumps(json.loads(GOOD), indent=2)
R = Reason

# The object of a comparison. A list is what is chosen; a reason, why there is no answer. The third: whether it was dressed.
OBJECTS: list[tuple[str, list[str] | Reason, bool]] = [
    # as it is
    (GOOD, READ, False),
    (INDENTED, READ, False),
    (f"  \n{GOOD}\n\n", READ, False),
    (json.dumps(dict(reversed(json.loads(GOOD).items()))), READ, False),
    # fences
    (f"```json\n{GOOD}\n```", READ, True),
    (f"```\n{GOOD}\n```", READ, True),
    (f"```JSON\n{INDENTED}\n```", READ, True),
    (f"```json {GOOD}```", READ, True),
    (f"````json\n{GOOD}\n````", READ, True),
    (f"~~~\n{GOOD}\n~~~", READ, True),
    (f"```json\n{GOOD}\n", READ, True),  # the fence that closes it is no part of the object
    (f"`{GOOD}`", READ, True),
    (f"Here you are:\n```json\n{GOOD}\n```\nI hope this helps.", READ, True),
    (f"```json\n{GOOD}\n```\n```json\n{GOOD}\n```", R.AMBIGUOUS, False),
    (f"```json\n{GOOD}\n```\n```json\n{B_WINS}\n```", R.AMBIGUOUS, False),
    (f"```json\n{GOOD[:-9]}\n```", R.NOT_JSON, False),
    ("```json\n```", R.NOT_JSON, False),
    # prose
    (f"Here is my answer: {GOOD}", READ, True),
    (f"{GOOD}\nI hope this helps!", READ, True),
    (f"图像A更好：{GOOD}", READ, True),
    (f"**Answer**\n\n{GOOD}", READ, True),
    (f"answer = {GOOD};", READ, True),
    (f"<answer>{GOOD}</answer>", READ, True),
    (f"Let me see [1]. {GOOD}", READ, True),
    (f"Image B is better, I think. {GOOD}", READ, True),  # the object is the answer that was asked for
    (f"/* A */ {GOOD}", READ, True),
    (f"Either {GOOD} or {B_WINS}", R.AMBIGUOUS, False),
    (f"{GOOD}{GOOD}", R.AMBIGUOUS, False),
    (f"{GOOD}\n{GOOD}", R.AMBIGUOUS, False),
    (f"{GOOD}, {{}}", R.AMBIGUOUS, False),
    (f"The form {{answer}}: {GOOD}", R.NOT_JSON, False),
    (f"{GOOD}}}", R.AMBIGUOUS, False),
    (f"{{{GOOD}", R.NOT_JSON, False),
    (f"[{GOOD}]", R.OTHER_FORM, False),
    (f"[{GOOD},{B_WINS}]", R.OTHER_FORM, False),
    (f"[{GOOD}", R.NOT_JSON, False),
    (json.dumps(GOOD), R.OTHER_FORM, False),
    # thought
    (f"<think>A is red.</think>{GOOD}", READ, True),
    (f"<think>\nA is red, B is not.\n</think>\n\n{GOOD}", READ, True),
    (f"A is red, B is not.\n</think>\n\n{GOOD}", READ, True),  # the template opened it
    (f"<think></think>\n{GOOD}", READ, True),
    (f"<think>Is it {B_WINS}? No.</think>{GOOD}", READ, True),
    (f"<thinking>hm</thinking>{GOOD}", READ, True),
    (f"[THINK]hm[/THINK]{GOOD}", READ, True),
    (f"◁think▷hm◁/think▷{GOOD}", READ, True),
    (f"<seed:think>hm</seed:think>{GOOD}", READ, True),
    (f"<think>hm</think>```json\n{GOOD}\n```", READ, True),
    (f"<think>hm</think>So: {GOOD} Done.<|im_end|>", READ, True),
    (f"<think>It is {GOOD}", R.ONLY_THOUGHT, False),
    ("<think>A is red and", R.ONLY_THOUGHT, False),
    ("<think>A is red.</think>", R.ONLY_THOUGHT, False),
    (f"<think>{GOOD}</think>  \n", R.ONLY_THOUGHT, False),
    (f"{GOOD}<think>or is it?</think>{B_WINS}", R.AMBIGUOUS, False),
    (f"<think>a</think>{GOOD}<think>b</think>{B_WINS}", R.AMBIGUOUS, False),
    (f"<think>a<think>b</think>c</think>{GOOD}", R.AMBIGUOUS, False),
    # tokens, boxes, marks
    (f"{GOOD}<|im_end|>", READ, True),
    (f"{GOOD}<|im_end|>\n<|endoftext|>", READ, True),
    (f"{GOOD}</s>", READ, True),
    (f"{GOOD}<eos>", READ, True),
    (f"{GOOD}<|eot_id|>", READ, True),
    (f"{GOOD}<end_of_turn>\n", READ, True),
    (f"<|begin_of_box|>{GOOD}<|end_of_box|>", READ, True),
    (f"The answer is <|begin_of_box|>{GOOD}<|end_of_box|>.", READ, True),
    (f"<think>hm</think><|begin_of_box|>{GOOD}<|end_of_box|>", READ, True),
    (f"<|begin_of_box|>{GOOD}<|end_of_box|><|begin_of_box|>{B_WINS}<|end_of_box|>", R.AMBIGUOUS, False),
    (f"{GOOD}<|end_of_box|>", R.AMBIGUOUS, False),
    ("<|begin_of_box|><|end_of_box|>", R.EMPTY, False),
    (f"\ufeff{GOOD}", READ, True),
    (f"\ufeff```json\n{GOOD}\n```<|im_end|>", READ, True),
    # nothing
    ("", R.EMPTY, False),
    (" \n\t", R.EMPTY, False),
    ("\ufeff", R.EMPTY, False),
    ("<|im_end|>", R.EMPTY, False),
    # refusals
    ("I'm sorry, but I can't help with that.", R.REFUSAL, False),
    ("I’m sorry, I cannot compare these.", R.REFUSAL, False),
    ("I cannot judge images of people.", R.REFUSAL, False),
    ("I can't assist with that request.", R.REFUSAL, False),
    ("As an AI, I do not look at images.", R.REFUSAL, False),
    ("Sorry, no.", R.REFUSAL, False),
    # words
    ("A", R.NOT_JSON, False),
    ("Image A is better.", R.NOT_JSON, False),
    ("better: A", R.NOT_JSON, False),
    ("👍", R.NOT_JSON, False),
    ("yes", R.NOT_JSON, False),
    ("null", R.OTHER_FORM, False),
    ("1", R.OTHER_FORM, False),
    ("[]", R.OTHER_FORM, False),
    ("{}", R.OTHER_FORM, False),
    # nearly JSON
    (GOOD[:-1], R.NOT_JSON, False),
    (GOOD[:30], R.NOT_JSON, False),
    (GOOD[1:], R.AMBIGUOUS, False),
    (GOOD.replace('"', "'"), R.NOT_JSON, False),
    (GOOD.replace('"', "”"), R.NOT_JSON, False),
    (GOOD[:-1] + ",}", R.NOT_JSON, False),
    ("{ // mine\n" + GOOD[1:], R.NOT_JSON, False),
    (GOOD.replace(":", " "), R.NOT_JSON, False),
    ("{" * 100_000, R.NOT_JSON, False),
    ('{"a":' * 100_000, R.NOT_JSON, False),
    (GOOD.replace('"1"', "1" * 5000), R.NOT_JSON, False),
    (GOOD.replace('"A"}', "NaN}"), R.NOT_JSON, False),
    # keys
    (GOOD.replace('"better":"A"', '"better":"A","better":"B"'), R.AMBIGUOUS, False),
    (GOOD.replace('"better":"A"', '"better":"B","better":"A"'), R.AMBIGUOUS, False),
    (GOOD.replace('"A":"yes"', '"A":"no","A":"yes"'), R.AMBIGUOUS, False),
    (GOOD.replace(',"better":"A"', ""), R.OTHER_FORM, False),
    (GOOD.replace("better", "best"), R.OTHER_FORM, False),
    (GOOD.replace("is it red?", "is it crimson?"), R.OTHER_FORM, False),
    (GOOD[:-1] + ',"reason":"it is red"}', R.OTHER_FORM, False),
    (json.dumps({"answer": json.loads(GOOD)}), R.OTHER_FORM, False),
    # choices
    (GOOD.replace('"better":"A"', '"better":"C"'), R.NO_CHOICE, False),
    (GOOD.replace('"better":"A"', '"better":"tie"'), R.NO_CHOICE, False),
    (GOOD.replace('"better":"A"', '"better":""'), R.NO_CHOICE, False),
    (GOOD.replace('"better":"A"', '"better":null'), R.NO_CHOICE, False),
    (GOOD.replace('"better":"A"', '"better":["A"]'), R.NO_CHOICE, False),
    (GOOD.replace('"better":"A"', '"better":"A or B"'), R.NO_CHOICE, False),
    (GOOD.replace('"better":"A"', '"better":"Image A"'), R.NO_CHOICE, False),
    (GOOD.replace('"yes"', "true"), R.NO_CHOICE, False),
    (GOOD.replace('"yes"', '"yes/no"'), R.NO_CHOICE, False),
    (GOOD.replace('"1"', "1"), R.NO_CHOICE, False),
    (GOOD.replace('"1"', '"7"'), R.NO_CHOICE, False),
]

# One of a menu.
MENUS: list[tuple[tuple[str, ...], str, str | Reason, bool]] = [
    (A_B, "A", "A", False),
    (A_B, " B\n", "B", False),
    (A_B, "A.", "A", True),
    (A_B, "**A**", "A", True),
    (A_B, "**A.**", "A", True),
    (A_B, "**A**.", "A", True),
    (A_B, '"A"', "A", True),
    (A_B, "'A'", "A", True),
    (A_B, "`A`", "A", True),
    (A_B, "```\nA\n```", "A", True),
    (A_B, "```text\nA\n```", "A", True),
    (A_B, "a", "A", True),
    (A_B, '{"answer": "A"}', "A", True),
    (A_B, '{"better":"B"}', "B", True),
    (A_B, "A<|im_end|>", "A", True),
    (A_B, "<|begin_of_box|>B<|end_of_box|>", "B", True),
    (A_B, "The better one is <|begin_of_box|>B<|end_of_box|>", "B", True),
    (A_B, "<think>A has it, B has not.</think>\nA", "A", True),
    (A_B, "B? no.</think>A", "A", True),
    (A_B, "\ufeffA", "A", True),
    (YES_NO, "Yes", "yes", True),
    (YES_NO, "YES.", "yes", True),
    (YES_NO, "No.", "no", True),
    (YES_NO, "no", "no", False),
    (GRADES, "4", "4", False),
    (GRADES, "4.", "4", True),
    (GRADES, "**5**", "5", True),
    (DIMENSION_GRADES, "NA", "NA", False),
    (DIMENSION_GRADES, "na", "NA", True),
    # none
    (A_B, "", R.EMPTY, False),
    (A_B, "<think>A", R.ONLY_THOUGHT, False),
    (A_B, "<think>A</think>", R.ONLY_THOUGHT, False),
    (A_B, "A<think>or B</think>B", R.AMBIGUOUS, False),
    (A_B, "A or B", R.NO_CHOICE, False),
    (A_B, "A B", R.NO_CHOICE, False),
    (A_B, "A\nB", R.NO_CHOICE, False),
    (A_B, '"A" or "B"', R.NO_CHOICE, False),
    (A_B, "A|B", R.NO_CHOICE, False),
    (A_B, "Image A", R.NO_CHOICE, False),
    (A_B, "A, because it is red", R.NO_CHOICE, False),
    (A_B, "A is not better than B", R.NO_CHOICE, False),
    (A_B, "not A", R.NO_CHOICE, False),
    (A_B, "C", R.NO_CHOICE, False),
    (A_B, "tie", R.NO_CHOICE, False),
    (A_B, "Ａ", R.NO_CHOICE, False),
    (A_B, "А", R.NO_CHOICE, False),  # Cyrillic
    (A_B, "AA", R.NO_CHOICE, False),
    (A_B, '{"answer": "A", "other": "B"}', R.NO_CHOICE, False),
    (A_B, '{"answer": "A", "answer": "B"}', R.NO_CHOICE, False),
    (A_B, '{"A": "B"', R.NO_CHOICE, False),
    (A_B, '["A"]', R.NO_CHOICE, False),
    (YES_NO, "y", R.NO_CHOICE, False),
    (YES_NO, "yes and no", R.NO_CHOICE, False),
    (YES_NO, "true", R.NO_CHOICE, False),
    (YES_NO, "ja", R.NO_CHOICE, False),
    (YES_NO, "I'm sorry", R.NO_CHOICE, False),
    (GRADES, "0", R.NO_CHOICE, False),
    (GRADES, "6", R.NO_CHOICE, False),
    (GRADES, "3.5", R.NO_CHOICE, False),
    (GRADES, "4/5", R.NO_CHOICE, False),
    (GRADES, "-1", R.NO_CHOICE, False),
    (GRADES, "5 (of 10)", R.NO_CHOICE, False),
    (GRADES, "①", R.NO_CHOICE, False),
    (GRADES, "١", R.NO_CHOICE, False),
    (GRADES, "four", R.NO_CHOICE, False),
    (GRADES, "1 2 3", R.NO_CHOICE, False),
]

# Objects of the model's own words.
RUBRIC = '{"criteria":[{"name":"colour","question":"is it red?"}]}'
THEMES = '{"themes":[{"theme":"objects","criteria":[2,1]}]}'
WRITTEN: list[tuple[Any, str, str | Reason, bool]] = [
    (CRITERIA, RUBRIC, RUBRIC, False),
    (CRITERIA, f"```json\n{RUBRIC}\n```", RUBRIC, True),
    (CRITERIA, f"<think>colours</think>Here:\n{RUBRIC}", RUBRIC, True),
    (CRITERIA, f"{RUBRIC}<|im_end|>", RUBRIC, True),
    (CRITERIA, RUBRIC[:-2], R.NOT_JSON, False),
    (CRITERIA, f"{RUBRIC}\n{RUBRIC}", R.AMBIGUOUS, False),
    (CRITERIA, '{"criteria":[]}', R.OTHER_FORM, False),
    (CRITERIA, '{"criteria":["is it red?"]}', R.OTHER_FORM, False),
    (CRITERIA, '{"criteria":[{"name":"a","question":"is it?"},{"name":"b","question":"is it?"}]}', R.OTHER_FORM, False),
    (CRITERIA, "1. Is it red?\n2. Is it round?", R.NOT_JSON, False),
    (CRITERIA, "I cannot write that.", R.REFUSAL, False),
    (CRITERIA, "", R.EMPTY, False),
    ("themes", f"Sure!\n{THEMES}", THEMES, True),
    ("themes", '{"themes":[{"theme":"objects","criteria":[3]}]}', R.OTHER_FORM, False),
    ("themes", '{"themes":[{"theme":"objects","criteria":[1,1]}]}', R.OTHER_FORM, False),
    (prompt(20), '```\n{"prompt":"a red star"}\n```', '{"prompt":"a red star"}', True),
    (prompt(20), '{"prompt":"a red star above a green square"}', R.OTHER_FORM, False),
    (prompt(20), '{"prompt":"a\\nstar"}', R.OTHER_FORM, False),
    (prompt(20), "a red star", R.NOT_JSON, False),
]


def comes_to(form: Form, reply: str, expected: list[str] | Reason, dressed: bool) -> None:
    slots, cost = filled(form, reply)
    if isinstance(expected, Reason):
        assert isinstance(slots, NoAnswer)
        assert slots.reason is expected
        assert 0 < len(str(slots).encode()) < 3000  # it can be logged
    else:
        assert not isinstance(slots, NoAnswer), str(slots)
        assert [[choice for choice, p in slot.items() if p == 1.0] for slot in slots] == [[choice] for choice in expected]
        assert cost == Cost(dressed=int(dressed))


def test_the_table_is_long_enough() -> None:
    rows = {row[0] for row in OBJECTS} | {(row[0], row[1]) for row in MENUS}
    assert len(rows) >= 150
    assert len(rows) == len(OBJECTS) + len(MENUS)


@pytest.mark.parametrize(("reply", "expected", "dressed"), OBJECTS)
def test_an_object(reply: str, expected: list[str] | Reason, dressed: bool) -> None:
    comes_to(ASKED, reply, expected, dressed)


@pytest.mark.parametrize(("menu", "reply", "expected", "dressed"), MENUS)
def test_a_choice(menu: tuple[str, ...], reply: str, expected: str | Reason, dressed: bool) -> None:
    comes_to(menu, reply, expected if isinstance(expected, Reason) else [expected], dressed)


@pytest.mark.parametrize(("form", "reply", "expected", "dressed"), WRITTEN)
def test_words_of_its_own(form: Any, reply: str, expected: str | Reason, dressed: bool) -> None:
    asked = themes([Criterion("a", "is it a?"), Criterion("b", "is it b?")]) if form == "themes" else form
    text, cost = read_written(asked, reply)
    if isinstance(expected, Reason):
        assert isinstance(text, NoAnswer)
        assert text.reason is expected
    else:
        assert text == expected
        assert cost == Cost(dressed=int(dressed))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("a red circle", "a red circle"),
        ("<think>what is it?</think>a red circle<|im_end|>", "a red circle"),
        ("```\na red circle\n```", "```\na red circle\n```"),  # words stay as they are
        ("<think>what is it", R.ONLY_THOUGHT),
        ("", R.EMPTY),
    ],
)
def test_free_words(reply: str, expected: str | Reason) -> None:
    if isinstance(expected, Reason):
        with pytest.raises(NoAnswer) as caught:
            words(reply)
        assert caught.value.reason is expected
    else:
        assert words(reply).text == expected


def test_grades_in_a_dressing() -> None:
    comes_to(GRADED, f"My grades:\n```json\n{FAIR}\n```", ["3", "4"], True)
    comes_to(GRADED, FAIR.replace('"4"', '"NA"'), R.NO_CHOICE, False)  # the overall grade always applies
