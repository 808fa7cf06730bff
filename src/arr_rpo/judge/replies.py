"""What a model wrote, without its dressing: what stands around an answer and means nothing.

Nothing is repaired and nothing chosen: where two things could be meant, there is no answer. What is left is read strictly
(`judge.forms`, `judge.written`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from arr_rpo.judge.forms import JSON_SPACE, Menu, NoAnswer
from arr_rpo.strict_json import short
from arr_rpo.types import Reason

# How models mark what they think before they answer. The first mark may stand in the prompt, where a template puts it.
THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)
# Where servers leave a special token in the text.
ENDS = re.compile(r"(?:<\|(?:im_end|endoftext|eot_id|eom_id|end|end_of_text|return)\|>|</s>|<eos>|<end_of_turn>)\s*\Z")
BOX = ("<|begin_of_box|>", "<|end_of_box|>")  # GLM
FENCE = re.compile(r"```[\w-]*[ \t]*\r?\n?(.*?)\r?\n?```", re.DOTALL)
WRAPPED = re.compile(r"(\*\*|__|\"|'|`)(.*)\1", re.DOTALL)
REFUSED = re.compile(
    r"\W*(?:i['’]?m sorry|i am sorry|sorry,|i can(?:no|['’])t|i am unable|i['’]m unable|i won['’]t|as an ai)", re.IGNORECASE
)


@dataclass(frozen=True)
class Said:
    """What is left of a reply. dressing: the kinds of what was taken off."""

    text: str
    dressing: tuple[str, ...] = ()

    def without(self, text: str, kind: str) -> Said:
        return self if text == self.text else Said(text, (*self.dressing, kind))


def words(reply: str) -> Said:
    """A reply in the model's own words, without thought, end tokens and box.

    Raises:
        NoAnswer: it is empty, a thought that did not end, or has several thoughts or boxes.
    """
    said = Said(reply.strip())
    said = said.without(said.text.lstrip("\ufeff").lstrip(), "byte order mark")
    while (text := ENDS.sub("", said.text).rstrip()) != said.text:
        said = said.without(text, "end token")
    said = _after_thought(said)
    said = _in_box(said)
    if not said.text:
        raise NoAnswer(Reason.EMPTY, "an empty reply")
    return said


def choice(reply: str, menu: Menu) -> Said:
    """A reply that is to be one of a menu: without a fence, quotes, emphasis or a full stop around it, in whatever case.

    Raises:
        NoAnswer: see `words`.
    """
    said = words(reply)
    if fenced := FENCE.fullmatch(said.text):
        said = said.without(fenced[1].strip(), "fence")
    said = said.without(_only_value(said.text), "object")
    for _ in range(3):  # "**A**.", "'A.'"
        if said.text not in menu:
            said = said.without(said.text.removesuffix("."), "full stop")
        if said.text not in menu and (wrapped := WRAPPED.fullmatch(said.text)):
            said = said.without(wrapped[2].strip(JSON_SPACE), "quotes")
    alike = [option for option in menu if option.casefold() == said.text.casefold()]
    if said.text not in menu and len(alike) == 1 and said.text.isascii():
        said = said.without(alike[0], "case")
    return said


def one_object(reply: str) -> Said:
    """The text of the one JSON object of a reply, without a fence or prose around it.

    Raises:
        NoAnswer: see `words`; or there is no object, or there are several.
    """
    said = words(reply)
    if _is_json(said.text):
        return said
    start = said.text.find("{")
    if start < 0 and REFUSED.match(said.text):
        raise NoAnswer(Reason.REFUSAL, f"the model will not answer: {short(said.text)}")
    if start < 0:
        raise NoAnswer(Reason.NOT_JSON, f"not JSON: {short(said.text)}")
    try:
        _, end = json.JSONDecoder().raw_decode(said.text, start)
    except (ValueError, RecursionError) as error:
        raise NoAnswer(Reason.NOT_JSON, f"not JSON ({short(str(error))}): {short(said.text)}") from None
    around = said.text[:start] + said.text[end:]
    if "{" in around or "}" in around:
        raise NoAnswer(Reason.AMBIGUOUS, f"more than one object, or braces around it: {short(said.text)}")
    if "[" in around.strip(JSON_SPACE)[:1]:  # half of a list is no prose
        raise NoAnswer(Reason.NOT_JSON, f"not JSON: {short(said.text)}")
    return said.without(said.text[start:end], "fence" if "```" in around else "prose")


def _after_thought(said: Said) -> Said:
    for begin, end in THOUGHTS:
        if begin not in said.text and end not in said.text:
            continue
        before, found, after = said.text.partition(end)
        if not found:
            raise NoAnswer(Reason.ONLY_THOUGHT, f"a thought without an end: {short(said.text)}")
        opened = before.removeprefix(begin)
        if begin in opened or begin in after or end in after:
            raise NoAnswer(Reason.AMBIGUOUS, f"more than one thought, or words before it: {short(said.text)}")
        if not after.strip():
            raise NoAnswer(Reason.ONLY_THOUGHT, f"a thought and no answer after it: {short(said.text)}")
        said = said.without(after.strip(), "thought")
    return said


def _in_box(said: Said) -> Said:
    begin, end = BOX
    if begin not in said.text and end not in said.text:
        return said
    before, opened, rest = said.text.partition(begin)
    inside, closed, after = rest.partition(end)
    if not opened or begin in rest or end in after or end in before:
        raise NoAnswer(Reason.AMBIGUOUS, f"more than one box, or half of one: {short(said.text)}")
    if not closed:
        inside = rest  # the end token of a box may be the reply's own
    return said.without(inside.strip(), "box")


def _only_value(text: str) -> str:
    """The value of an object with one key, where that is a text."""
    if not text.startswith("{"):
        return text
    try:
        data = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return text
    return data[0][1] if len(data) == 1 and isinstance(data[0][1], str) else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
