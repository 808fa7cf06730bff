"""What the embedded judge is taught: pictures with known truth, and conversations about them.

Every label follows from the oracle's truth of the pictures; nothing is biased by design. A conversation describes
each picture first (perception), then answers questions about what was described (reasoning), so that each token is learnable.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arr_rpo.judge.forms import A_B, GRADES, YES_NO, Form, critique
from arr_rpo.judge.processor import Qwen3VLProcessor
from arr_rpo.judge.wording import Wording, render
from arr_rpo.shapes import prompts
from arr_rpo.shapes.judge_parts import (
    ASSISTANT,
    END,
    IMAGE_PAD,
    IMAGE_TOKENS,
    USER,
    VISION_END,
    VISION_START,
    rubric_json,
)
from arr_rpo.shapes.questions import Located, Question, questions_of
from arr_rpo.shapes.scene import Scene, place
from arr_rpo.shapes.vocabulary import CELLS, IMAGE_SIZE, NUMBERS, PHRASINGS, RELATIONS, SEEN, SHAPES, TAGS, UNSEEN, plural

QUESTION_KINDS = ("existence", "counting", "position", "total")


def name_things(things: Sequence[Located]) -> str:
    """What stands where, in reading order of the cells: "upper left red circle, lower left blue star", or "nothing"."""
    places = [(_cell(t), f"{t.color} {t.shape}") for t in things]
    return ", ".join(f"{CELLS[cell]} {name}" for cell, name in sorted(places)) or "nothing"


def varied_scene(metadata: dict[str, Any], rng: np.random.Generator) -> Scene:
    """A picture that a policy might make of a prompt: right, wrong in attributes, short of or over objects, or unrelated."""
    kind = rng.random()
    if kind < 0.15:
        cells = rng.permutation(4)[: int(rng.integers(0, 5))]
        return place([SEEN[int(rng.integers(len(SEEN)))] for _ in cells], list(cells), rng)
    scene = prompts.scene_of(metadata if kind < 0.5 else prompts.mistaken(metadata, 0.3, rng), rng)
    if rng.random() < 0.15 and len(scene) > 1:
        scene = scene[:-1]
    if rng.random() < 0.15 and len(scene) < 4:
        taken = {_cell(t) for t in scene}
        free = [c for c in range(4) if c not in taken]
        scene += place([SEEN[int(rng.integers(len(SEEN)))]], [int(rng.choice(free))], rng)
    return scene


def random_question(things: Sequence[Located], kind: str, rng: np.random.Generator) -> Question:
    """A question of a kind, more often than not about what is there."""

    def about() -> tuple[str | None, str]:
        known = [(t.color, t.shape) for t in things if t.shape in SHAPES and (t.color, t.shape) not in UNSEEN]
        color, shape = known[int(rng.integers(len(known)))] if known and rng.random() < 0.75 else _pick(SEEN, rng)
        if rng.random() < 0.25:
            other_color, other_shape = _pick(SEEN, rng)
            mixed = (other_color, shape) if rng.random() < 0.5 else (color, other_shape)
            color, shape = mixed if mixed not in UNSEEN else (other_color, other_shape)
        return (None if rng.random() < 0.25 and kind != "position" else color), shape

    color, shape = about()
    if kind == "existence":
        return Question(kind, shape, color)
    if kind == "counting":
        return Question(kind, shape, color, int(rng.integers(2, 5)))
    if kind == "total":
        return Question(kind, count=int(rng.integers(1, 5)))
    other_color, other_shape = about()
    relation = str(rng.choice(RELATIONS))
    return Question(kind, shape, color, 1, relation, other_shape=other_shape, other_color=other_color)


def balanced_question(things: Sequence[Located], rng: np.random.Generator) -> Question:
    """A question whose answer is yes as often as no, as far as the picture allows."""
    kind, wanted = str(rng.choice(QUESTION_KINDS)), rng.random() < 0.5
    for _ in range(12):
        question = random_question(things, kind, rng)
        if question.answer(things) == wanted:
            break
    return question


def look_up(things: Sequence[Located], rng: np.random.Generator) -> tuple[str, str]:
    """A question with an answer to be found in the description: what is in a cell, where a thing is, how many there are.

    No role of a judge needs these, but a word to copy teaches the model to find things sooner than a yes or no does.
    """
    kind = rng.random()
    cell = int(rng.integers(4))
    if kind < 0.4:
        inside = [t for t in things if _cell(t) == cell]
        return f"what is {CELLS[cell]}?", " and".join(f" {t.color} {t.shape}" for t in inside) or " nothing"
    question = random_question(things, "existence", rng)
    here = sorted(_cell(t) for t in things if question.is_about(t))
    if kind < 0.8:
        return f"where is a {question.name}?", " and".join(f" {CELLS[cell]}" for cell in here) or " nowhere"
    return f"how many {plural(question.name)}?", f" {('zero', *NUMBERS.values())[min(len(here), 4)]}"


def _cell(thing: Located) -> int:
    return 2 * (thing.y > IMAGE_SIZE / 2) + (thing.x > IMAGE_SIZE / 2)


def _pick(options: Sequence[tuple[str, str]], rng: np.random.Generator) -> tuple[str, str]:
    return options[int(rng.integers(len(options)))]


@dataclass(frozen=True)
class Picture:
    """things: what the oracle says is there; pixels: (64, 96) patches as the image processor makes them, None if imagined."""

    things: Sequence[Located]
    pixels: Tensor | None = None


@dataclass(frozen=True)
class Group:
    """A prompt and some pictures made for it."""

    metadata: dict[str, Any]
    pictures: tuple[Picture, ...]


class Conversation:
    """Token ids and labels (-100 where nothing is learnt) of one conversation, as the chat template would lay it out."""

    def __init__(self, encode: functools._lru_cache_wrapper[list[int]], ids: dict[str, int]) -> None:
        self._encode, self._ids = encode, ids
        self.tokens: list[int] = []
        self.labels: list[int] = []
        self.pixels: list[Tensor] = []

    def user(self, text: str) -> None:
        self._given([self._ids[USER], *self._encode(text), self._ids[ASSISTANT]])

    def describe(self, label: str, picture: Picture, request: str) -> None:
        """A picture and its description. Of an imagined picture the description is given; there is nothing to see."""
        image: list[int] = []
        if picture.pixels is not None:
            self.pixels.append(picture.pixels)
            image = [self._ids[VISION_START], *[self._ids[IMAGE_PAD]] * IMAGE_TOKENS, self._ids[VISION_END]]
        self._given([self._ids[USER], *self._encode(label), *image, *self._encode(request), self._ids[ASSISTANT]])
        description = [*self._encode(name_things(picture.things)), self._ids[END]]
        (self._given if picture.pixels is None else self._learnt)(description)

    def write(self, text: str) -> None:
        self._learnt([*self._encode(text), self._ids[END]])

    def fill(self, form: Form, choices: Sequence[str]) -> None:
        """A filled form, piece by piece as a judge fills it; only what stands in the slots is learnt."""
        remaining = iter(choices)
        for part in form:
            if isinstance(part, str):
                self._given(self._encode(part))
            else:
                self._learnt(self._encode(next(remaining)))
        self._given([self._ids[END]])

    def _given(self, tokens: list[int]) -> None:
        self.tokens += tokens
        self.labels += [-100] * len(tokens)

    def _learnt(self, tokens: list[int]) -> None:
        self.tokens += tokens
        self.labels += tokens


class Teacher:
    """Makes training conversations of each role."""

    def __init__(self, processor: Qwen3VLProcessor) -> None:
        self.tokenizer = tokenizer = processor.tokenizer
        self.wording = Wording("shapes")
        tokens = (USER, ASSISTANT, END, VISION_START, IMAGE_PAD, VISION_END)
        self._ids = {token: tokenizer.convert_tokens_to_ids(token) for token in tokens}
        self._encode = functools.lru_cache(maxsize=200_000)(lambda text: tokenizer(text).input_ids)

    def describing(self, *pictures: Picture) -> Conversation:
        conversation = Conversation(self._encode, self._ids)
        labels = [self.wording("label", letter=letter) for letter in "AB"] if len(pictures) > 1 else [""]
        for label, picture in zip(labels, pictures, strict=True):
            conversation.describe(label, picture, self.wording("describe"))
        return conversation

    def single(self, group: Group, rng: np.random.Generator, questions: int = 10) -> Conversation:
        """One picture: its description, then `questions` turns of checks and, one in six, a score."""
        picture = group.pictures[int(rng.integers(len(group.pictures)))]
        conversation = self.describing(picture)
        for _ in range(questions):
            role = rng.random()
            if role < 0.4:
                question_text, answer = look_up(picture.things, rng)
                conversation.user(question_text)
                conversation.write(answer)
            elif role < 0.5:
                metadata = group.metadata if rng.random() < 0.8 else _random_prompt(rng)
                conversation.user(self.wording("score", prompt=_text(metadata, rng)))
                conversation.fill((GRADES,), [GRADES[round(4 * _met(questions_of(metadata), picture))]])
            else:
                question = balanced_question(picture.things, rng)
                conversation.user(self.wording("check", question=str(question)))
                conversation.fill((YES_NO,), [YES_NO[not question.answer(picture.things)]])
        return conversation

    def pair(self, group: Group, rng: np.random.Generator) -> Conversation:
        """Two pictures of a prompt: their descriptions, then which is better, with a rubric in context or without."""
        chosen = [group.pictures[int(i)] for i in rng.permutation(len(group.pictures))[:2]]
        if _met(questions_of(group.metadata), chosen[0]) == _met(questions_of(group.metadata), chosen[1]):
            chosen = [group.pictures[int(i)] for i in rng.permutation(len(group.pictures))[:2]]
        conversation = self.describing(*chosen)
        roles = [self._compare_by_rubric, self._compare_by_rubric, self._compare]
        for role in rng.permutation(3)[:2]:
            roles[int(role)](conversation, group, chosen, rng)
        return conversation

    def _compare(self, conversation: Conversation, group: Group, pair: list[Picture], rng: np.random.Generator) -> None:
        conversation.user(self.wording("compare", prompt=_text(group.metadata, rng)))
        conversation.fill((A_B,), [_better(questions_of(group.metadata), pair, rng)])

    def _compare_by_rubric(
        self, conversation: Conversation, group: Group, pair: list[Picture], rng: np.random.Generator
    ) -> None:
        """Half the time by the prompt's own rubric, else by one with criteria dropped, added, shuffled: the rubric rules."""
        questions = list(questions_of(group.metadata))
        if rng.random() < 0.5:
            kept = [q for q in questions if rng.random() < 0.7]
            added = [balanced_question(pair[int(rng.integers(2))].things, rng) for _ in range(int(rng.integers(0, 3)))]
            questions = [*kept, *added] or [balanced_question(pair[0].things, rng)]
            questions = [questions[int(i)] for i in rng.permutation(len(questions))]
        texts = [str(q) for q in questions]
        conversation.user(self.wording("compare_rubric", prompt=_text(group.metadata, rng), rubric=render(texts)))
        checks = [YES_NO[not q.answer(p.things)] for q in questions for p in pair]
        tally = [str(sum(q.answer(p.things) for q in questions)) for p in pair]
        conversation.fill(critique(texts), [*checks, *tally, _better(questions, pair, rng)])

    def writing(self, rng: np.random.Generator) -> Conversation:
        """A prompt, and its rubric as JSON."""
        metadata = _random_prompt(rng)
        conversation = Conversation(self._encode, self._ids)
        conversation.user(self.wording("write", prompt=_text(metadata, rng)))
        conversation.write(rubric_json(questions_of(metadata)))
        return conversation


def _random_prompt(rng: np.random.Generator) -> dict[str, Any]:
    return prompts.random_metadata(str(rng.choice(TAGS, p=(0.08, 0.1, 0.22, 0.1, 0.2, 0.3))), rng)


def _text(metadata: dict[str, Any], rng: np.random.Generator) -> str:
    return prompts.describe(metadata, str(rng.choice(PHRASINGS)))


def _met(questions: Sequence[Question], picture: Picture) -> float:
    return sum(q.answer(picture.things) for q in questions) / len(questions)


def _better(questions: Sequence[Question], pair: Sequence[Picture], rng: np.random.Generator) -> str:
    """The picture that meets more; a coin where they are equal, so that the judge learns to say one half."""
    a, b = (_met(questions, picture) for picture in pair)
    return "AB"[int(rng.integers(2))] if a == b else "AB"[int(b > a)]


def collate(conversations: Sequence[Conversation], image_token: int) -> dict[str, Tensor]:
    """A right-padded batch for `Qwen3VLForConditionalGeneration`: input_ids, labels, attention_mask (B, L) and the patches."""
    length = max(len(c.tokens) for c in conversations)
    ids = torch.zeros(len(conversations), length, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for row, c in enumerate(conversations):
        n = len(c.tokens)
        ids[row, :n], labels[row, :n], mask[row, :n] = torch.tensor(c.tokens), torch.tensor(c.labels), 1
    batch = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    pixels = [patches for c in conversations for patches in c.pixels]
    if pixels:
        batch["pixel_values"] = torch.cat(pixels).float()
        side = int(pixels[0].shape[0] ** 0.5)
        batch["image_grid_thw"] = torch.tensor([[1, side, side]] * len(pixels))
        batch["mm_token_type_ids"] = (ids == image_token).int()
    return batch
