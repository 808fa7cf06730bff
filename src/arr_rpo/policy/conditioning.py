"""What a pipeline computes of a prompt or a source image: computed once, and handed out again."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from arr_rpo.policy.encodings import Encodings

TOGETHER = 16  # prompts in one call of an encoder


class PromptMemo:
    """A pipeline's `encode_prompt`: each prompt is encoded once, as if alone; a batch is looked up and joined.

    The joined outputs are those of the pipeline for the batch: tensors of one prompt (first dimension 1) are concatenated,
    with zeros at the end where lengths differ; the output after a padded one is its mask (pipelines leave it out where all of
    it is 1). Where many are new, they are encoded sixteen at a time, if that was once seen to give each what it has alone, to
    the bit: what a prompt's encoding is must not depend on when it came.

    encodings: where they are kept. lasting: the encoders will go, so that nothing can be encoded again (`fill`).
    """

    def __init__(self, encode: Callable[..., Any], encodings: Encodings, lasting: bool = False) -> None:
        self._encode, self._encodings, self._lasting = encode, encodings, lasting
        self._signature = inspect.signature(encode)
        self._calls: dict[Any, dict[str, Any]] = {}  # the distinct ways in which the pipeline asked, for `fill`
        self._together: dict[Any, bool] = {}  # by the way of asking, whether sixteen at a time are as one by one

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arguments = self._signature.bind(*args, **kwargs).arguments
        arguments.update(arguments.pop("kwargs", {}))
        prompt = arguments.pop("prompt", None)
        if prompt is None:
            return self._encode(prompt=None, **arguments)
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        rows = self._each(texts, [_row(arguments, number, len(texts)) for number in range(len(texts))])
        if isinstance(rows[0], tuple):
            return _join(rows)
        return _join([(row,) for row in rows])[0]

    @torch.no_grad()
    def fill(self, texts: Sequence[str]) -> None:
        """Encodes `texts` in every way in which the pipeline has asked so far, so that its encoders can go (if `lasting`)."""
        for arguments in list(self._calls.values()):
            for start in range(0, len(texts), TOGETHER):
                some = texts[start : start + TOGETHER]
                self._each(some, [arguments] * len(some))

    def _each(self, texts: Sequence[str], arguments: Sequence[dict[str, Any]]) -> list[Any]:
        """The encoding of each text, asked for with its arguments."""
        ways = [by_value(some) for some in arguments]
        keys = [("prompt", text, way) for text, way in zip(texts, ways, strict=True)]
        fresh: dict[Any, Any] = {}
        for way in dict.fromkeys(ways):
            new = dict.fromkeys(k for k in keys if k[2] == way and k not in self._encodings)
            some = list(new)[: len(new) // TOGETHER * TOGETHER]
            for start in range(0, len(some), TOGETHER):
                now = some[start : start + TOGETHER]
                fresh |= zip(now, self._batch([k[1] for k in now], arguments[ways.index(way)], way), strict=False)
        rows = []
        for key, own in zip(keys, arguments, strict=True):
            one = functools.partial(fresh.__getitem__, key) if key in fresh else functools.partial(self._alone, key[1], own)
            rows.append(self._one(key, own, one))
        return rows

    def _one(self, key: Any, arguments: dict[str, Any], compute: Callable[[], Any]) -> Any:
        if self._lasting:  # else nobody fills, and each picture that a pipeline shows its encoder would stay here
            self._calls.setdefault(key[2], arguments)
        return self._encodings.get(key, compute, lasting=self._lasting)

    def _alone(self, text: str, arguments: dict[str, Any]) -> Any:
        return self._encode(prompt=[text], **arguments)

    def _batch(self, texts: Sequence[str], arguments: dict[str, Any], way: Any) -> list[Any]:
        """Sixteen encodings, or none where they would be others than of each alone."""
        if way not in self._together:
            self._together[way] = _plain(arguments) and self._same_together(["a", *texts[1:]], arguments)
        return self._rows(texts, arguments) if self._together[way] else []

    def _same_together(self, texts: Sequence[str], arguments: dict[str, Any]) -> bool:
        """texts: of several lengths, which an encoder might pad."""
        try:
            together = self._rows(texts, arguments)
        except Exception:  # an encoder that takes one prompt, or memory for one
            return False
        return [by_value(row) for row in together] == [by_value(self._alone(text, arguments)) for text in texts]

    def _rows(self, texts: Sequence[str], arguments: dict[str, Any]) -> list[Any]:
        """The rows of a batch, each as of a batch of one."""
        arguments = {
            name: value * len(texts) if _of_rows(name, value) and len(value) == 1 else value
            for name, value in arguments.items()
        }
        made = self._encode(prompt=list(texts), **arguments)
        return [tree_map(lambda leaf, k=k: _row_of(leaf, k, len(texts)), made) for k in range(len(texts))]


class ImageMemo:
    """A pipeline's encoding of source images (`_encode_vae_image`): each is encoded once, alone; a batch is looked up and
    joined, so that an image has the same latents to the bit in whatever batch it comes.

    Only deterministic encoders may be remembered; pipelines that edit take the mode of the posterior.
    """

    def __init__(self, encode: Callable[..., Any], encodings: Encodings) -> None:
        self._encode, self._encodings = encode, encodings

    @torch.no_grad()
    def __call__(self, image: Tensor, generator: Any = None) -> Tensor:
        return torch.cat([self._one(row) for row in image.split(1)])

    def _one(self, image: Tensor) -> Tensor:
        encode = functools.partial(self._encode, image=image, generator=None)
        latents: Tensor = self._encodings.get(("image", str(image.device), by_value(image)), encode, lasting=False)
        return latents


def by_value(value: Any) -> Any:
    """A hashable key: pictures and tensors by their content, the rest by what is written of them."""
    if isinstance(value, Tensor):
        raw = value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return ("tensor", str(value.dtype), tuple(value.shape), hashlib.sha256(raw).hexdigest())
    if isinstance(value, Image):
        return ("image", value.mode, value.size, hashlib.sha256(value.tobytes()).hexdigest())
    if isinstance(value, dict):
        return tuple(sorted((key, by_value(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return tuple(by_value(item) for item in value)
    return str(value)


def _plain(arguments: dict[str, Any]) -> bool:
    """Whether the arguments are of no row's own: no pictures, no tensors."""
    return not any(isinstance(leaf, Tensor | Image) for leaf in tree_leaves(arguments))


def _row_of(leaf: Any, number: int, rows: int) -> Any:
    """A row's part, with memory of its own; what has no rows is the same for all."""
    if isinstance(leaf, Tensor) and leaf.ndim > 1 and len(leaf) == rows:
        return leaf[number : number + 1].clone()
    return leaf


def _row(arguments: dict[str, Any], number: int, rows: int) -> dict[str, Any]:
    """What belongs to one prompt: lists of prompts, such as negative ones, have an entry for each. Other lists of texts are
    of all: Sana's `complex_human_instruction` has eight lines."""
    return {
        name: [value[number]] if _of_rows(name, value) and len(value) == rows else value for name, value in arguments.items()
    }


def _of_rows(name: str, value: Any) -> bool:
    return "prompt" in name and isinstance(value, list) and all(isinstance(item, str) for item in value)


def _join(rows: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    joined: list[Any] = []
    for parts in zip(*rows, strict=True):
        if any(part is None for part in parts):
            before = [row[len(joined) - 1] for row in rows] if joined else []
            parts = _masks(parts, before)  # noqa: PLW2901
        if isinstance(parts[0], Tensor) and parts[0].ndim > 1 and parts[0].shape[0] == 1:
            longest = max(part.shape[1] for part in parts)
            joined.append(torch.cat([_padded(part, longest) for part in parts]))
        elif isinstance(parts[0], list):
            joined.append([item for part in parts for item in part])
        else:  # None, or what is the same for all prompts (position ids)
            joined.append(parts[0])
    return tuple(joined)


def _masks(parts: tuple[Any, ...], before: list[Any]) -> tuple[Any, ...]:
    """Masks of ones where a pipeline left them out, if the batch needs any: for some prompts only, or of padded embeddings."""
    given = next((part for part in parts if part is not None), None)
    lengths = [part.shape[1] if isinstance(part, Tensor) and part.ndim > 2 else 0 for part in before]
    if given is None and len(set(lengths)) < 2:
        return parts
    dtype = torch.bool if given is None else given.dtype
    return tuple(
        torch.ones(1, length, dtype=dtype, device=embedding.device) if part is None else part
        for part, length, embedding in zip(parts, lengths, before, strict=True)
    )


def _padded(part: Tensor, length: int) -> Tensor:
    missing = part.new_zeros(1, length - part.shape[1], *part.shape[2:])
    return torch.cat([part, missing], 1)
