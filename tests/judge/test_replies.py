"""What a model may write instead of an answer: what is malformed is no answer, what is well-formed is read as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr_rpo.judge.forms import (
    A_B,
    DIMENSION_GRADES,
    GRADES,
    YES_NO,
    Form,
    Menu,
    NoAnswer,
    grades,
    menus,
    pieces,
    read,
    verdict,
)
from arr_rpo.judge.replies import one_object
from arr_rpo.types import Reason

QUESTIONS = ("is there a red circle?", 'does the sign say "STOP"?', "steht links ein Stuhl, rechts ein Tisch? — 左に椅子?")
FORMS: dict[str, Form] = {
    "one criterion": verdict(QUESTIONS[:1]),
    "three criteria": verdict(QUESTIONS),
    "twelve criteria": verdict([f"is it so ({i})?" for i in range(12)]),  # too many to be counted
    "grades": grades(["faithfulness", "quality"]),
    "answer": {"answer": YES_NO},
}
MENUS: dict[str, Menu] = {"yes/no": YES_NO, "A/B": A_B, "1-5": GRADES, "1-4, NA": DIMENSION_GRADES}


def written(form: Form, choose: Callable[[Menu], str] = lambda menu: menu[0]) -> str:
    """The form as a model that answers well writes it."""
    return "".join(piece if isinstance(piece, str) else choose(piece) for piece in pieces(form))


def is_no_answer(form: Form, reply: str) -> None:
    """Neither an answer nor another error, and the reason can be put into a log."""
    with pytest.raises(NoAnswer) as caught:
        read(form, reply)
    reason = str(caught.value)
    assert 0 < len(reason.encode()) < 3000


def leaf(data: Any) -> tuple[dict[str, Any], str]:
    """Where the first choice of a filled form stands."""
    key = next(iter(data))
    return (data, key) if isinstance(data[key], str) else leaf(data[key])


def with_leaf(value: Any) -> Callable[[str], str]:
    """The reply with something else in the place of its first choice."""

    def change(reply: str) -> str:
        data = json.loads(reply)
        holder, key = leaf(data)
        holder[key] = value
        return json.dumps(data)

    return change


def with_raw_leaf(text: str) -> Callable[[str], str]:
    """The same with something that `json.dumps` would not write."""
    return lambda reply: with_leaf("@@@")(reply).replace('"@@@"', text, 1)


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    """The reply with its top level changed in place, or replaced by what `change` returns."""

    def apply(reply: str) -> str:
        data = json.loads(reply)
        new = change(data)
        return json.dumps(data if new is None else new)

    return apply


def first_item(reply: str) -> str:
    """The reply's first key and its value, as JSON without braces."""
    key, value = next(iter(json.loads(reply).items()))
    return json.dumps({key: value})[1:-1]


# Whatever the form of an object is, its reply is no longer one after any of these.
SPOILED: dict[str, Callable[[str], str]] = {
    # nothing, and words
    "empty": lambda r: "",
    "space": lambda r: " \n\t",
    "refusal": lambda r: "I'm sorry, but I can't help with that.",
    "German": lambda r: "Bild A ist besser, weil der rote Kreis vollständig ist.",
    "Chinese": lambda r: "图像A更好，因为它符合所有标准。",
    "Arabic": lambda r: "الصورة أ أفضل",
    "emoji": lambda r: "👍",
    "a choice alone": lambda r: "yes",
    "a choice in quotes": lambda r: '"yes"',
    "end of turn": lambda r: "<|im_end|>",
    "the key of a menu": lambda r: "yes|no",
    # JSON of another kind
    "null": lambda r: "null",
    "true": lambda r: "true",
    "number": lambda r: "1",
    "array": lambda r: "[]",
    "array around it": lambda r: f"[{r}]",
    "string around it": json.dumps,
    "empty object": lambda r: "{}",
    "wrapped": lambda r: json.dumps({"result": json.loads(r)}),
    "keys only": lambda r: json.dumps(list(json.loads(r))),
    "list of pairs": lambda r: json.dumps(list(json.loads(r).items())),
    # nearly JSON
    "fenced": lambda r: f"```json\n{r}\n```",
    "fenced without a language": lambda r: f"```\n{r}\n```",
    "words before": lambda r: f"Here is my answer: {r}",
    "words after": lambda r: f"{r}\nI hope this helps!",
    "thought before": lambda r: f"<think>A has the circle.</think>{r}",
    "twice": lambda r: r + r,
    "twice, in lines": lambda r: f"{r}\n{r}",
    "single quotes": lambda r: r.replace('"', "'"),
    "typographic quotes": lambda r: r.replace('"', "”"),
    "no quotes": lambda r: r.replace('"', ""),
    "trailing comma": lambda r: r[:-1] + ",}",
    "leading comma": lambda r: "{," + r[1:],
    "doubled comma": lambda r: r[:-1] + ",," + first_item(r) + "}",
    "colon missing": lambda r: r.replace(":", " "),
    "equals signs": lambda r: r.replace('":', '"='),
    "full-width colon": lambda r: r.replace('":', '"：'),
    "comment": lambda r: "{ // my answer\n" + r[1:],
    "block comment": lambda r: "/* */" + r,
    "mark of byte order": lambda r: "\ufeff" + r,
    "no-break space before": lambda r: "\u00a0" + r,
    "zero-width space after": lambda r: r + "\u200b",
    "null byte after": lambda r: r + "\x00",
    "line break in a string": with_raw_leaf('"yes\n"'),
    "tab in a string": with_raw_leaf('"\tyes"'),
    "bad escape": with_raw_leaf('"\\y"'),
    "cut escape": with_raw_leaf('"\\u00"'),
    # cut off
    "without its end": lambda r: r[:-1],
    "half": lambda r: r[: len(r) // 2],
    "its first character": lambda r: r[:1],
    "its last character": lambda r: r[-1:],
    "without its beginning": lambda r: r[1:],
    "one brace too many": lambda r: r + "}",
    "dots": lambda r: r[: len(r) // 2] + "...",
    # keys
    "first key missing": changed(lambda d: d.pop(next(iter(d))) and None),
    "last key missing": changed(lambda d: d.popitem() and None),
    "key added": changed(lambda d: d.update(reason="A has the circle")),
    "key of another case": changed(lambda d: {k.upper(): v for k, v in d.items()}),
    "key with a space": changed(lambda d: {f"{k} ": v for k, v in d.items()}),
    "key numbered": changed(lambda d: {f"1. {k}": v for k, v in d.items()}),
    "empty key": changed(lambda d: d.update({"": "yes"})),
    "key twice, alike": lambda r: f"{{{first_item(r)},{r[1:]}",
    "key twice, differently": lambda r: r[:-1] + "," + json.dumps({next(iter(json.loads(r))): "no"})[1:],
    "key twice, once escaped": lambda r: r[:-1] + f',"\\u{ord(r[2]):04x}{next(iter(json.loads(r)))[1:]}":null}}',
    # choices
    "choice null": with_leaf(None),
    "choice true": with_leaf(True),
    "choice false": with_leaf(False),
    "choice 0": with_leaf(0),
    "choice 1": with_leaf(1),
    "choice 1.0": with_leaf(1.0),
    "choice NaN": with_leaf(float("nan")),
    "choice infinite": with_leaf(float("inf")),
    "choice overflowing": with_raw_leaf("1e999"),
    "choice of many digits": with_raw_leaf("1" * 10_000),
    "choice list": with_leaf(["yes"]),
    "choice object": with_leaf({"yes": 1.0}),
    "choice deep": with_raw_leaf("[" * 700 + "]" * 700),
    "choice too deep": with_raw_leaf("[" * 50_000 + "]" * 50_000),
    "choice long": with_leaf("yes" * 10_000),
    "choice empty": with_leaf(""),
    "choice blank": with_leaf(" "),
    "choice with a space": with_leaf("yes "),
    "choice with a full stop": with_leaf("yes."),
    "choice with a line break": with_leaf("yes\n"),
    "choice of another case": with_leaf("Yes"),
    "choice shortened": with_leaf("y"),
    "choice of both": with_leaf("yes|no"),
    "choice explained": with_leaf("yes, there is a red circle"),
    "choice from another menu": with_leaf("both"),
    "choice in German": with_leaf("ja"),
    "choice in Japanese": with_leaf("はい"),
    "choice in Cyrillic letters": with_leaf("уеѕ"),
    "choice full-width": with_leaf("ｙｅｓ"),
    "choice with an accent on nothing": with_leaf("yes\u0301"),
    "choice with a zero-width joiner": with_leaf("ye\u200ds"),
    "choice with half a character": with_raw_leaf('"\\ud800"'),
    "choice with a null": with_raw_leaf('"yes\\u0000"'),
    "choice of a circled digit": with_leaf("①"),
    "choice of an Arabic digit": with_leaf("١"),
}

SPOILED_CHOICES: dict[str, Callable[[str], str]] = {
    "empty": lambda c: "",
    "space": lambda c: "  ",
    "quoted": json.dumps,
    "in backticks": lambda c: f"`{c}`",
    "bold": lambda c: f"**{c}**",
    "in brackets": lambda c: f"({c})",
    "boxed": lambda c: f"\\boxed{{{c}}}",
    "tagged": lambda c: f"<answer>{c}</answer>",
    "as an object": lambda c: json.dumps({"answer": c}),
    "full stop": lambda c: f"{c}.",
    "explained": lambda c: f"{c}, because there is a circle",
    "introduced": lambda c: f"Answer: {c}",
    "on two lines": lambda c: f"{c}\nThere is a circle.",
    "twice": lambda c: f"{c} {c}",
    "doubled": lambda c: c + c,
    "none": lambda c: "none",
    "0": lambda c: "0",
    "6": lambda c: "6",
    "-1": lambda c: "-1",
    "3.5": lambda c: "3.5",
    "out of": lambda c: "4/5",
    "ja": lambda c: "ja",
    "Japanese": lambda c: "はい",
    "tie": lambda c: "tie",
    "neither": lambda c: "neither A nor B",
    "no-break space": lambda c: f"{c}\u00a0",
    "ideographic space": lambda c: f"\u3000{c}",
    "separator": lambda c: f"{c}\x1f",
    "zero-width": lambda c: f"{c}\u200b",
    "mark of byte order": lambda c: f"\ufeff{c}",
    "null byte": lambda c: f"{c}\x00",
    "full-width": lambda c: "".join(chr(ord(letter) + 0xFEE0) for letter in c),
    "half a character": lambda c: f"{c}\ud800",
    "end of turn": lambda c: f"{c}<|im_end|>",
    "every choice": lambda c: "yes|no",
    "long": lambda c: c * 10_000,
}

OBJECTS = [(form, spoil) for form in FORMS for spoil in SPOILED]
CHOICES = [(menu, spoil) for menu in MENUS for spoil in SPOILED_CHOICES]


def test_there_are_enough_of_them() -> None:
    replies = {(form, SPOILED[spoil](written(FORMS[form]))) for form, spoil in OBJECTS}
    assert len(replies) + len(CHOICES) > 500


@pytest.mark.parametrize(("form", "spoil"), OBJECTS)
def test_a_malformed_object_is_no_answer(form: str, spoil: str) -> None:
    good = written(FORMS[form])
    bad = SPOILED[spoil](good)
    assert bad != good
    is_no_answer(FORMS[form], bad)


@pytest.mark.parametrize(("menu", "spoil"), CHOICES)
def test_a_malformed_choice_is_no_answer(menu: str, spoil: str) -> None:
    for choice in MENUS[menu]:
        is_no_answer(MENUS[menu], SPOILED_CHOICES[spoil](choice))


@pytest.mark.parametrize("form", FORMS)
def test_a_reply_to_another_form_is_no_answer(form: str) -> None:
    for name, other in FORMS.items():
        if name != form:
            is_no_answer(FORMS[form], written(other))


def test_criteria_that_were_not_asked_about_are_no_answer() -> None:
    """One missing, one more, one said in other words."""
    form = verdict(QUESTIONS)
    checks = {q: {"A": "yes", "B": "no"} for q in QUESTIONS}
    rest = {"met": {"A": "3", "B": "0"}, "better": "A"}
    read(form, json.dumps({"criteria": checks, **rest}))
    for criteria in (
        {q: checks[q] for q in QUESTIONS[:2]},
        {**checks, "is it pretty?": {"A": "yes", "B": "no"}},
        {q.replace("red", "crimson"): c for q, c in checks.items()},
        {q: {"A": "yes"} for q in QUESTIONS},
        {q: {**c, "C": "yes"} for q, c in checks.items()},
        dict.fromkeys(QUESTIONS, "yes"),
        [*checks.values()],
        None,
    ):
        is_no_answer(form, json.dumps({"criteria": criteria, **rest}))


def test_many_keys_are_counted_quickly() -> None:
    is_no_answer(FORMS["answer"], "{" + ",".join(f'"k{i}":1' for i in range(100_000)) + ',"k0":1}')


@pytest.mark.parametrize("form", [*FORMS.values(), *MENUS.values()], ids=[*FORMS, *MENUS])
@given(data=st.data())
def test_well_formed_replies_are_read_as_they_are(form: Form, data: st.DataObject) -> None:
    """Whatever is chosen, and whatever the white space and the order of keys that JSON allows."""
    choices = [data.draw(st.sampled_from(menu)) for menu in menus(form)]
    left = iter(choices)
    reply = written(form, lambda menu: next(left))
    slots = read(form, reply)
    assert [set(slot) for slot in slots] == [set(menu) for menu in menus(form)]
    assert [[choice for choice, p in slot.items() if p == 1.0] for slot in slots] == [[choice] for choice in choices]
    assert all(sum(slot.values()) == 1.0 for slot in slots)
    assert read(form, f" \r\n{reply}\t") == slots
    if not isinstance(form, tuple):
        assert read(form, json.dumps(json.loads(reply), indent=2, sort_keys=True)) == slots


@given(form=st.sampled_from([*FORMS.values()]), data=st.data())
def test_any_beginning_of_a_reply_is_no_answer(form: Form, data: st.DataObject) -> None:
    reply = written(form)
    is_no_answer(form, reply[: data.draw(st.integers(0, len(reply) - 1))])


@given(form=st.sampled_from([*FORMS.values(), *MENUS.values()]), text=st.text())
def test_any_text_is_no_answer(form: Form, text: str) -> None:
    """Unless it happens to be a choice."""
    if isinstance(form, tuple) and text.strip(" \t\r\n") in form:
        return
    is_no_answer(form, text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(form=st.sampled_from([*FORMS.values()]), value=ANYTHING, data=st.data())
def test_anything_in_the_place_of_a_choice_is_no_answer(form: Form, value: Any, data: st.DataObject) -> None:
    places = [i for i, piece in enumerate(pieces(form)) if isinstance(piece, tuple)]
    place = data.draw(st.sampled_from(places))
    menu = pieces(form)[place]
    if isinstance(value, str) and value in menu:
        return
    # The quotes around the choice are part of the fixed texts.
    parts = [piece if isinstance(piece, str) else piece[0] for piece in pieces(form)]
    parts[place - 1], parts[place], parts[place + 1] = parts[place - 1][:-1], json.dumps(value), parts[place + 1][1:]
    is_no_answer(form, "".join(parts))


@given(form=st.sampled_from([*FORMS.values()]), value=ANYTHING)
def test_any_other_json_is_no_answer(form: Form, value: Any) -> None:
    is_no_answer(form, json.dumps(value))


def test_an_apology_before_an_object_is_prose() -> None:
    said = one_object('I can\'t see a dog. {"yes": 1}')
    assert said.text == '{"yes": 1}'
    with pytest.raises(NoAnswer) as refused:
        one_object("I can't help with that.")
    assert refused.value.reason is Reason.REFUSAL
