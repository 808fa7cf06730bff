"""How a model is asked: a text before the images, the images, a text after them; and the two things it can do in reply."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from PIL.Image import Image

from arr_rpo.judge.forms import Form, NoAnswer, Slots
from arr_rpo.judge.reasons import MAY_COME
from arr_rpo.judge.wording import REFERENCE, Wording
from arr_rpo.judge.written import Written
from arr_rpo.types import Cost, Prompt

Conversation = list[dict[str, Any]]  # chat messages: role, and content as text or as parts of type text and image


class Model(Protocol):
    """An image-text-to-text model, in this process (`LocalModel`) or on a server (`ServerModel`).

    It may have `elsewhere`: whether it works on another machine or device, so that pictures can be drawn while it answers; then
    `give_up` ends what it is being asked, in whatever thread.
    """

    name: str

    def revision(self) -> str:
        """What changes when the model does."""

    def generate(
        self, conversations: Sequence[Conversation], max_new_tokens: int, *, more_follows: bool = False
    ) -> tuple[list[str | NoAnswer], Cost]:
        """The reply to each conversation, as text. more_follows: whether the next thing asked shows the same images."""

    def fill(self, conversations: Sequence[Conversation], forms: Sequence[Form]) -> tuple[list[Slots | NoAnswer], list[Cost]]:
        """A filled form for each conversation."""

    def write(
        self, conversations: Sequence[Conversation], forms: Sequence[Written], max_new_tokens: int
    ) -> tuple[list[str | NoAnswer], Cost]:
        """The JSON object that the model writes in reply to each conversation; it has passed the form's check."""

    def settings(self) -> Mapping[str, Any]:
        """What of its configuration bears on what it answers."""

    def account(self) -> Mapping[str, Any]:
        """What happened on the way to the answers so far; empty where there is no way."""


class Asker:
    """A model, the texts it is asked with, and what it has said about each image.

    describe: whether it says what it sees in each image before it is asked about it: critique before verdict. An image is
    described once, by itself.
    """

    def __init__(self, model: Model, wording: str, *, describe: bool, max_description_tokens: int) -> None:
        self.model, self.wording, self.describe = model, Wording(wording), describe
        self.max_description_tokens = max_description_tokens
        self._seen: dict[str, str | NoAnswer] = {}

    def descriptions(self, images: Sequence[Image]) -> tuple[list[str | NoAnswer], Cost]:
        """What the model says it sees in each image. The memory holds the images of one call only, and no failure that another
        attempt may mend."""
        new = {digest(image): image for image in images}
        self._seen = {key: text for key, text in self._seen.items() if key in new and not _may_come(text)}
        cost = Cost()
        if unknown := [key for key in new if key not in self._seen]:
            asked = [[user(new[key], self.wording.say("describe"))] for key in unknown]
            texts, cost = self.model.generate(asked, self.max_description_tokens, more_follows=True)
            self._seen.update(zip(unknown, texts, strict=True))
        return [self._seen[digest(image)] for image in images], cost

    def look(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> Cost:
        """Has every picture described that conversations about `prompts` and `images` will show."""
        if not self.describe:
            return Cost()
        given = {id(picture): picture for p in prompts for picture in (p.source, *p.references) if picture is not None}
        return self.descriptions([*images, *given.values()])[1]

    def conversation(self, role: str, prompt: Prompt, images: Sequence[Image], **fields: str) -> Conversation | NoAnswer:
        """The turns up to the model's reply: an edit's source and references first, several candidates with their letters.

        A picture that could not be described makes the whole conversation impossible.
        """
        edit = prompt.source is not None
        before, after = self.wording(role, edit=edit, prompt=prompt.text, **fields)
        shown = list(zip(self.wording.labels(len(images), edit), images, strict=True))
        if prompt.source is not None:
            references = [
                (self.wording.say(REFERENCE, edit=True, number=str(number)), picture)
                for number, picture in enumerate(prompt.references, start=1)
            ]
            shown = [(self.wording.say("source_label", edit=True), prompt.source), *references, *shown]
        if not self.describe:
            return [user(before, *(part for pair in shown for part in pair), after)]
        turns: Conversation = []
        for label, image in shown:
            text = self._seen[digest(image)]
            if isinstance(text, NoAnswer):
                return text.about("the image could not be described: ")
            turns += [user(before, label, image, self.wording.say("describe")), assistant(text)]
            before = ""
        return [*turns, user(before, after)]

    def fill(
        self, conversations: Sequence[Conversation | NoAnswer], forms: Sequence[Form]
    ) -> tuple[list[Slots | NoAnswer], list[Cost]]:
        """`Model.fill` of those conversations that could be had."""
        answers: list[Slots | NoAnswer] = [c if isinstance(c, NoAnswer) else [] for c in conversations]
        costs = [Cost()] * len(forms)
        rows = [i for i, c in enumerate(conversations) if not isinstance(c, NoAnswer)]
        filled = self.model.fill([conversations[i] for i in rows], [forms[i] for i in rows])  # type: ignore[misc]
        for i, answer, cost in zip(rows, *filled, strict=True):
            answers[i], costs[i] = answer, cost
        return answers, costs

    def generate(
        self, conversations: Sequence[Conversation | NoAnswer], max_new_tokens: int, *, more_follows: bool = False
    ) -> tuple[list[str | NoAnswer], Cost]:
        """`Model.generate` of those conversations that could be had."""
        replies: list[str | NoAnswer] = [c if isinstance(c, NoAnswer) else "" for c in conversations]
        rows = [i for i, c in enumerate(conversations) if not isinstance(c, NoAnswer)]
        possible: list[Conversation] = [conversations[i] for i in rows]  # type: ignore[misc]
        texts, cost = self.model.generate(possible, max_new_tokens, more_follows=more_follows)
        for i, text in zip(rows, texts, strict=True):
            replies[i] = text
        return replies, cost

    def write(
        self, conversations: Sequence[Conversation | NoAnswer], forms: Sequence[Written], max_new_tokens: int
    ) -> tuple[list[str | NoAnswer], Cost]:
        """`Model.write` of those conversations that could be had."""
        replies: list[str | NoAnswer] = [c if isinstance(c, NoAnswer) else "" for c in conversations]
        rows = [i for i, c in enumerate(conversations) if not isinstance(c, NoAnswer)]
        possible: list[Conversation] = [conversations[i] for i in rows]  # type: ignore[misc]
        texts, cost = self.model.write(possible, [forms[i] for i in rows], max_new_tokens)
        for i, text in zip(rows, texts, strict=True):
            replies[i] = text
        return replies, cost


def _may_come(text: str | NoAnswer) -> bool:
    return isinstance(text, NoAnswer) and text.reason in MAY_COME


def user(*parts: str | Image) -> dict[str, Any]:
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image", "image": p} for p in parts if p != ""]
    return {"role": "user", "content": content}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def hashed(settings: Mapping[str, Any]) -> str:
    """Of what some answers depend on, to tell them from others."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def digest(image: Image) -> str:
    """Of the pixels, so that a copy of an image is the same image."""
    return hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).hexdigest()
