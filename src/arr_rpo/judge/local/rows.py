"""Conversations as rows of tokens, each distinct image processed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from arr_rpo.judge.asking import Conversation, digest
from arr_rpo.types import UserError

TOGETHER = 16  # pictures in one call of the processor
TEXT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


@dataclass(frozen=True)
class ProcessedImage:
    """An image as the processor makes it: the tokens that stand for it, and what its encoder is given, by name."""

    number: int
    tokens: list[int]
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A conversation up to the model's reply.

    keys: the tokens, with a negative number of the image's own in place of each of its tokens: rows with equal keys have
        equal tokens and equal images.
    images: digest of each image shown, with where its tokens start.
    """

    tokens: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    images: list[tuple[str, int]] = field(default_factory=list)

    def within(self, start: int, end: int) -> list[str]:
        """The images whose tokens stand between start and end."""
        return [image for image, first in self.images if start <= first < end]


class Reader:
    """A processor that is handed every distinct image once, until it is told to forget. `name` is the judge's, for messages."""

    def __init__(self, processor: Any, name: str) -> None:
        self.processor, self._name, self._checked = processor, name, False
        self._together: bool | None = None  # whether many images at a time are as one by one; None until it was looked at
        self.pictures: dict[str, ProcessedImage] = {}

    def forget(self) -> None:
        """Lets go of all images."""
        self.pictures = {}

    def rows(self, conversations: Sequence[Conversation]) -> list[Row]:
        """The same tokens as those of `padded`, without padding. Their images are in `pictures`.

        Raises:
            UserError: this processor does more than putting an image's tokens in the place of its placeholder.
        """
        shown = [list(_images(conversation)) for conversation in conversations]
        keys = [[digest(image) for image in images] for images in shown]
        distinct = dict(zip((k for ks in keys for k in ks), (i for images in shown for i in images), strict=True))
        self._read({key: image for key, image in distinct.items() if key not in self.pictures})
        template = self.processor.tokenizer.apply_chat_template(
            list(conversations),
            chat_template=self.processor.chat_template,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            sanitize_control_tokens=not self._harmless(conversations),
        )
        placeholder = self.processor.tokenizer.convert_tokens_to_ids(self.processor.image_token)
        rows = [self._row(tokens, ks, placeholder) for tokens, ks in zip(template["input_ids"], keys, strict=True)]
        if rows and not self._checked:
            longest = max(range(len(rows)), key=lambda i: len(rows[i].tokens))
            if rows[longest].tokens != padded(self.processor, [conversations[longest]])["input_ids"][0].tolist():
                raise UserError(
                    f"judge {self._name!r}: {type(self.processor).__name__} reads conversations in a way that "
                    "share_prefixes does not know. Set judge.model.share_prefixes=false."
                )
            self._checked = True
        return rows

    def _harmless(self, conversations: Sequence[Conversation]) -> bool:
        """Whether nothing in their texts could be taken for a control token, so that they can be read all at once: with
        `sanitize_control_tokens` the library reads each by itself, and drops signs of its own, which are not ASCII."""
        text = "\n".join(text for conversation in conversations for text in _texts(conversation))
        return text.isascii() and not any(token in text for token in self.processor.tokenizer.added_tokens_encoder)

    def _read(self, images: Mapping[str, Image]) -> None:
        """Adds to `pictures`; images of one size together, where that gives each what it has alone, to the bit."""
        alike: dict[Any, list[str]] = {}
        for key, image in images.items():
            alike.setdefault((image.mode, image.size), []).append(key)
        for keys in alike.values():
            some = [images[key] for key in keys]
            if self._together is None and len(some) > 1:
                self._together = self._same_together(some[:2])
            size = TOGETHER if self._together else 1
            for start in range(0, len(keys), size):
                made = self._process(some[start : start + size])
                for key, (tokens, inputs) in zip(keys[start : start + size], made, strict=True):
                    self.pictures[key] = ProcessedImage(-1 - len(self.pictures), tokens, inputs)

    def _same_together(self, images: Sequence[Image]) -> bool:
        alone = [self._process([image])[0] for image in images]
        try:
            together = self._process(images)
        except Exception:  # a processor that wants to be asked otherwise
            return False
        return all(
            tokens == others and inputs.keys() == more.keys() and all(torch.equal(inputs[n], more[n]) for n in inputs)
            for (tokens, inputs), (others, more) in zip(alone, together, strict=True)
        )

    def _process(self, images: Sequence[Image]) -> list[tuple[list[int], dict[str, Tensor]]]:
        """The tokens and the encoder's inputs of each of the images, which have one size and so an equal share of them."""
        token, n = self.processor.image_token, len(images)
        made = self.processor(text=[token] * n, images=list(images), add_special_tokens=False, return_tensors="pt")
        inputs = {name: made[name].chunk(n) for name in made if name not in TEXT}
        return [(made["input_ids"][i].tolist(), {name: shares[i].clone() for name, shares in inputs.items()}) for i in range(n)]

    def _row(self, tokens: Sequence[int], images: Sequence[str], placeholder: int) -> Row:
        """Each placeholder replaced by its image's tokens."""
        row, waiting = Row(), iter(images)
        for token in tokens:
            if token == placeholder:
                image = next(waiting)
                picture = self.pictures[image]
                row.images.append((image, len(row.tokens)))
                row.tokens.extend(picture.tokens)
                row.keys.extend([picture.number] * len(picture.tokens))
            else:
                row.tokens.append(token)
                row.keys.append(token)
        return row


def padded(processor: Any, conversations: Sequence[Conversation]) -> Any:
    """The batch as the model's own processor makes it, padded on the left; an image that is shown twice is in it twice.

    Texts are data: special tokens that stand in them, such as the end of a turn in a prompt, are read as letters.
    """
    return processor.apply_chat_template(
        list(conversations),
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        sanitize_control_tokens=True,
        processor_kwargs={"padding": True, "padding_side": "left"},
    )


def _images(conversation: Conversation) -> Iterator[Image]:
    for turn in conversation:
        parts = turn["content"]
        yield from (part["image"] for part in parts if not isinstance(part, str) and part["type"] == "image")


def _texts(conversation: Conversation) -> Iterator[str]:
    for turn in conversation:
        parts = turn["content"]
        yield from [parts] if isinstance(parts, str) else (part["text"] for part in parts if part["type"] == "text")
