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

from arr_rpo.policy.encodings import Encodings


class PromptMemo:
    """A pipeline's `encode_prompt`: each prompt is encoded once, alone; a batch is looked up and joined.

    The joined outputs are those of the pipeline for the batch: tensors of one prompt (first dimension 1) are concatenated,
    with zeros at the end where lengths differ; the output after a padded one is its mask (pipelines leave it out where all of
    it is 1).

    encodings: where they are kept. lasting: the encoders will go, so that nothing can be encoded again (`fill`).
    """

    def __init__(self, encode: Callable[..., Any], encodings: Encodings, lasting: bool = False) -> None:
        self._encode, self._encodings, self._lasting = encode, encodings, lasting
        self._signature = inspect.signature(encode)
        self._calls: dict[Any, dict[str, Any]] = {}  # the distinct ways in which the pipeline asked, for `fill`

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arguments = self._signature.bind(*args, **kwargs).arguments
        arguments.update(arguments.pop("kwargs", {}))
        prompt = arguments.pop("prompt", None)
        if prompt is None:
            return self._encode(prompt=None, **arguments)
        texts = [prompt] if isinstance(prompt, str) else list(prompt)
        rows = [self._one(text, _row(arguments, number, len(texts))) for number, text in enumerate(texts)]
        if isinstance(rows[0], tuple):
            return _join(rows)
        return _join([(row,) for row in rows])[0]

    def fill(self, texts: Sequence[str]) -> None:
        """Encodes `texts` in every way in which the pipeline has asked so far, so that its encoders can go (if `lasting`)."""
        with torch.no_grad():
            for arguments in list(self._calls.values()):
                for text in texts:
                    self._one(text, arguments)

    def _one(self, text: str, arguments: dict[str, Any]) -> Any:
        way = by_value(arguments)
        if self._lasting:  # else nobody fills, and each picture that a pipeline shows its encoder would stay here
            self._calls.setdefault(way, arguments)
        encode = functools.partial(self._encode, prompt=[text], **arguments)
        return self._encodings.get(("prompt", text, way), encode, lasting=self._lasting)


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


def _row(arguments: dict[str, Any], number: int, rows: int) -> dict[str, Any]:
    """What belongs to one prompt: lists of texts, such as negative prompts, have an entry for each."""
    return {
        name: [value[number]]
        if isinstance(value, list) and len(value) == rows and all(isinstance(item, str) for item in value)
        else value
        for name, value in arguments.items()
    }


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
