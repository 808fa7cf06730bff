"""What the embedded judge is taught: pictures with known truth, and conversations about them.

Every label follows from the oracle's truth of the pictures; nothing is biased by design. A conversation names the cells of
each picture first (perception), then answers questions about what was named (reasoning), so that each token is learnable.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arr_rpo.judge.forms import GRADES, YES_NO, critique, filled
from arr_rpo.judge.processor import Qwen3VLProcessor
from arr_rpo.judge.wording import Wording, render
from arr_rpo.shapes import prompts
from arr_rpo.shapes.judge_parts import ASSISTANT, END, IMAGE_TOKENS, USER, rubric_json
from arr_rpo.shapes.questions import Located, Question, questions_of
from arr_rpo.shapes.scene import Scene, place
from arr_rpo.shapes.vocabulary import IMAGE_SIZE, PHRASINGS, RELATIONS, SEEN, SHAPES, TAGS, UNSEEN

QUESTION_KINDS = ("existence", "counting", "position", "total")


def name_cells(things: Sequence[Located]) -> str:
    """What stands in each cell, in reading order: "red circle, nothing, blue star, nothing"."""
    names = ["nothing"] * 4
    for thing in things:
        names[2 * (thing.y > IMAGE_SIZE / 2) + (thing.x > IMAGE_SIZE / 2)] = f"{thing.color} {thing.shape}"
    return ", ".join(names)


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
        taken = {2 * (t.y > IMAGE_SIZE / 2) + (t.x > IMAGE_SIZE / 2) for t in scene}
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


def _pick(options: Sequence[tuple[str, str]], rng: np.random.Generator) -> tuple[str, str]:
    return options[int(rng.integers(len(options)))]


@dataclass(frozen=True)
class Picture:
    """pixels: (64, 96) patches as the image processor makes them; things: what the oracle says is there."""

    pixels: Tensor
    things: Sequence[Located]


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
        self.pictures: list[Picture] = []

    def user(self, text: str, picture: Picture | None = None) -> None:
        image: list[int] = []
        if picture is not None:
            self.pictures.append(picture)
            ids = self._ids
            image = [ids["<|vision_start|>"], *[ids["<|image_pad|>"]] * IMAGE_TOKENS, ids["<|vision_end|>"]]
        new = [self._ids[USER], *image, *self._encode(text), self._ids[ASSISTANT]]
        self.tokens += new
        self.labels += [-100] * len(new)

    def assistant(self, *pieces: str) -> None:
        new = [token for piece in pieces for token in self._encode(piece)] + [self._ids[END]]
        self.tokens += new
        self.labels += new


class Teacher:
    """Makes training conversations of each role."""

    def __init__(self, processor: Qwen3VLProcessor) -> None:
        tokenizer = processor.tokenizer
        self.wording = Wording("shapes")
        self._ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (USER, ASSISTANT, END)}
        self._ids |= {t: tokenizer.convert_tokens_to_ids(t) for t in ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")}
        self._encode = functools.lru_cache(maxsize=200_000)(lambda text: tokenizer(text).input_ids)

    def _new(self) -> Conversation:
        return Conversation(self._encode, self._ids)

    def describing(self, *pictures: Picture) -> Conversation:
        conversation = self._new()
        for picture in pictures:
            conversation.user(self.wording("describe"), picture)
            conversation.assistant(name_cells(picture.things))
        return conversation

    def single(self, group: Group, rng: np.random.Generator, questions: int = 8) -> Conversation:
        """One picture: name its cells, then `questions` turns of checks and, one in six, a score."""
        picture = group.pictures[int(rng.integers(len(group.pictures)))]
        conversation = self.describing(picture)
        for _ in range(questions):
            if rng.random() < 1 / 6:
                metadata = group.metadata if rng.random() < 0.8 else _random_prompt(rng)
                conversation.user(self.wording("score", prompt=_text(metadata, rng)))
                conversation.assistant(GRADES[round(4 * _met(questions_of(metadata), picture))])
            else:
                question = balanced_question(picture.things, rng)
                conversation.user(self.wording("check", question=str(question)))
                conversation.assistant(YES_NO[not question.answer(picture.things)])
        return conversation

    def pair(self, group: Group, rng: np.random.Generator) -> Conversation:
        """Two pictures of a prompt: name their cells, then which is better, with a rubric in context or without."""
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
        conversation.assistant(_better(questions_of(group.metadata), pair, rng))

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
        text = self.wording("compare_rubric", prompt=_text(group.metadata, rng), rubric=render([str(q) for q in questions]))
        conversation.user(text)
        checks = [YES_NO[not q.answer(p.things)] for q in questions for p in pair]
        tally = [str(sum(q.answer(p.things) for q in questions)) for p in pair]
        conversation.assistant(*filled(critique(len(questions)), [*checks, *tally, _better(questions, pair, rng)]))

    def writing(self, rng: np.random.Generator) -> Conversation:
        """A prompt, and its rubric as JSON."""
        metadata = _random_prompt(rng)
        conversation = self._new()
        conversation.user(self.wording("write", prompt=_text(metadata, rng)))
        conversation.assistant(rubric_json(questions_of(metadata)))
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
    pictures = [p.pixels for c in conversations for p in c.pictures]
    if pictures:
        batch["pixel_values"] = torch.cat(pictures).float()
        side = int(pictures[0].shape[0] ** 0.5)
        batch["image_grid_thw"] = torch.tensor([[1, side, side]] * len(pictures))
        batch["mm_token_type_ids"] = (ids == image_token).int()
    return batch
