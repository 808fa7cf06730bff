"""What the embedded judge is taught on: pictures with known truth, questions about them, and conversations as tokens.

Every label follows from the oracle's truth of the pictures; nothing is biased by design. `teacher` composes the lessons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.vision_utils import get_vision_position_ids

from arr_rpo.judge.forms import Form, pieces
from arr_rpo.shapes.recipes.judge_parts import (
    ASSISTANT,
    END,
    IMAGE_PAD,
    IMAGE_TOKENS,
    MERGE,
    USER,
    VISION_END,
    VISION_START,
)
from arr_rpo.shapes.world.questions import Located, Question, cell_of
from arr_rpo.shapes.world.vocabulary import CELLS, NUMBERS, RELATIONS, SEEN, SHAPES, UNSEEN, plural

GIVEN, FIXED_TEXT, LEARNT = 0.0, 0.2, 1.0  # how much a token counts in the loss
# How often each kind is asked: those that take a thing to be found, and another beside it, are learnt last.
QUESTION_KINDS = {"existence": 0.26, "counting": 0.1, "position": 0.26, "total": 0.06, "place": 0.24, "empty": 0.08}
PROMPT_KINDS = {kind: share for kind, share in QUESTION_KINDS.items() if kind not in ("place", "empty")}  # those of prompts


def name_things(things: Sequence[Located]) -> str:
    """What stands where, in reading order of the cells: "upper left red circle, lower left blue star", or "nothing"."""
    places = [(cell_of(t), f"{t.color} {t.shape}") for t in things]
    return ", ".join(f"{CELLS[cell]} {name}" for cell, name in sorted(places)) or "nothing"


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
    if kind in ("place", "empty"):
        about_it = Question("existence", shape, color).is_about
        here = [cell_of(t) for t in things if kind == "empty" or about_it(t)]
        cell = here[int(rng.integers(len(here)))] if here and rng.random() < 0.5 else int(rng.integers(4))
        return Question(kind, cell=cell) if kind == "empty" else Question(kind, shape, color, cell=cell)
    other_color, other_shape = about()
    relation = str(rng.choice(RELATIONS))
    return Question(kind, shape, color, 1, relation, other_shape=other_shape, other_color=other_color)


def balanced_question(
    things: Sequence[Located], rng: np.random.Generator, kinds: Mapping[str, float] = QUESTION_KINDS
) -> Question:
    """A question whose answer is yes as often as no, as far as the picture allows. kinds: how often each, in proportion."""
    shares = np.array(list(kinds.values())) / sum(kinds.values())
    kind, wanted = str(rng.choice(list(kinds), p=shares)), rng.random() < 0.5
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
        inside = [t for t in things if cell_of(t) == cell]
        return f"what is {CELLS[cell]}?", " and".join(f" {t.color} {t.shape}" for t in inside) or " nothing"
    question = random_question(things, "existence", rng)
    here = sorted(cell_of(t) for t in things if question.is_about(t))
    if kind < 0.8:
        return f"where is a {question.name}?", " and".join(f" {CELLS[cell]}" for cell in here) or " nowhere"
    return f"how many {plural(question.name)}?", f" {('zero', *NUMBERS.values())[min(len(here), 4)]}"


def _pick(options: Sequence[tuple[str, str]], rng: np.random.Generator) -> tuple[str, str]:
    return options[int(rng.integers(len(options)))]


@dataclass(frozen=True)
class Picture:
    """things: what the oracle says is there; pixels: (64, 96) patches as the image processor makes them, None if imagined."""

    things: Sequence[Located]
    pixels: Tensor | None = None


@dataclass(frozen=True)
class Group:
    """A prompt, or an edit of `source`, and some pictures made for it."""

    metadata: dict[str, Any]
    pictures: tuple[Picture, ...]
    source: Picture | None = None


class Conversation:
    """Token ids of one conversation, as the chat template would lay it out, and how much each token counts in the loss."""

    def __init__(self, encode: Callable[[str], list[int]], ids: Mapping[str, int]) -> None:
        self._encode, self._ids = encode, ids
        self.tokens: list[int] = []
        self.weights: list[float] = []
        self.pixels: list[Tensor] = []

    def user(self, text: str) -> None:
        self._add([self._ids[USER], *self._encode(text), self._ids[ASSISTANT]], GIVEN)

    def describe(self, before: str, picture: Picture, request: str) -> None:
        """A picture and its description. Of an imagined picture the description is given; there is nothing to see."""
        image: list[int] = []
        if picture.pixels is not None:
            self.pixels.append(picture.pixels)
            image = [self._ids[VISION_START], *[self._ids[IMAGE_PAD]] * IMAGE_TOKENS, self._ids[VISION_END]]
        self._add([self._ids[USER], *self._encode(before), *image, *self._encode(request), self._ids[ASSISTANT]], GIVEN)
        description = [*self._encode(name_things(picture.things)), self._ids[END]]
        self._add(description, GIVEN if picture.pixels is None else LEARNT)

    def write(self, text: str) -> None:
        self._add([*self._encode(text), self._ids[END]], LEARNT)

    def fill(self, form: Form, choices: Sequence[str], last: float = 1.0) -> None:
        """A filled form, piece by piece as a judge fills it. Its fixed text is easy and counts little; `last` is the weight of
        the last choice."""
        parts, remaining = pieces(form), list(choices)
        for part in parts:
            if isinstance(part, str):
                self._add(self._encode(part), FIXED_TEXT)
            else:
                choice = remaining.pop(0)
                self._add(self._encode(choice), LEARNT if remaining else last)
        self._add([self._ids[END]], FIXED_TEXT)

    def _add(self, tokens: Sequence[int], weight: float) -> None:
        self.tokens += tokens
        self.weights += [weight] * len(tokens)


@dataclass(frozen=True)
class Row:
    """A conversation of a lesson. kind: its number; total: what the weights of all conversations of its kind add up to."""

    conversation: Conversation
    kind: int
    total: float

    @property
    def length(self) -> int:
        return len(self.conversation.tokens)


def collate(rows: Sequence[Row], image_token: int, rope: Callable[..., Any]) -> dict[str, Tensor]:
    """A right-padded batch for `Qwen3VLForConditionalGeneration`, and beside its arguments `kinds` (B,) and loss weights
    (B, L), each divided by its row's total.

    All pictures have one size, so what the model would work out picture by picture is given with them.

    rope: `Qwen3VLModel.get_rope_index`.
    """
    length = max(row.length for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    weights = torch.zeros(len(rows), length)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : row.length], mask[i, : row.length] = torch.tensor(row.conversation.tokens), 1
        weights[i, : row.length] = torch.tensor(row.conversation.weights) / row.total
    batch = {"input_ids": ids, "attention_mask": mask, "weights": weights, "kinds": torch.tensor([row.kind for row in rows])}
    pixels = [patches for row in rows for patches in row.conversation.pixels]
    if not pixels:
        return batch
    patches = pixels[0].shape[0]
    grid = torch.tensor([[1, int(patches**0.5), int(patches**0.5)]])
    grids = grid.repeat(len(pixels), 1)
    positions, _ = rope(ids, (ids == image_token).int(), image_grid_thw=grids, attention_mask=mask)
    return batch | {
        "position_ids": positions,
        "pixel_values": torch.cat(pixels),
        "image_grid_thw": grids,
        "image_position_ids": get_vision_position_ids(grid, MERGE).repeat(len(pixels), 1),
        "image_cu_seqlens": torch.tensor([0, patches * len(pixels)], dtype=torch.int32),  # see judge_parts.see_together
    }


def of_like_length(rows: Sequence[Row], tokens: int) -> list[list[Row]]:
    """Parts of at most `tokens` tokens with padding (or one row), sorted by length."""
    parts: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row.length):
        if not parts or parts[-1][0].length * (len(parts[-1]) + 1) > tokens:
            parts.append([])
        parts[-1].append(row)
    return parts
