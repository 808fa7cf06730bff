"""How well picture and text go together, by a CLIP-style model: CLIPScore, PickScore and their like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch.nn.functional import cosine_similarity
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from arr_rpo import ranks
from arr_rpo.scorer.base import Scorer, grade
from arr_rpo.types import Grade, Prompt, UserError


class ClipScorer(Scorer):
    """`scale` times the cosine of the embeddings of picture and text: 2.5, and never below 0, is CLIPScore (arXiv 2104.08718);
    None takes the model's own temperature, which is what PickScore's probabilities are made of (arXiv 2305.01569).

    Args:
        checkpoint: a folder with a transformers model that embeds both (`CLIPModel`, `SiglipModel`, ...), its tokenizer and
            image processor, or a name in the local hub cache.
        device: as torch names it; `auto` is this process's GPU, or the CPU where there is none.
        batch_size: pictures in one pass.
        prefix: put before each text ("A photo depicts" for CLIPScore).
        clamp: whether a value below 0 is 0.
    """

    def __init__(self, *, checkpoint: str, device: str, scale: float | None, batch_size: int, prefix: str, clamp: bool) -> None:
        device = ranks.device(device)
        try:
            model: Any = AutoModel.from_pretrained(checkpoint, local_files_only=True).to(device).eval().requires_grad_(False)
            self._tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
            self._images = AutoImageProcessor.from_pretrained(checkpoint, local_files_only=True)
        except Exception as error:
            raise UserError(
                f"score checkpoint={checkpoint!r}: no readable model of pictures and texts ({type(error).__name__}: {error}). "
                "Give a folder, or download it into the local cache first (`hf download ...`)."
            ) from error
        if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
            raise UserError(f"score checkpoint={checkpoint!r}: {type(model).__name__} does not embed pictures and texts")
        self._model, self._device, self._batch_size = model, device, batch_size
        self._scale, self._prefix, self._clamp = scale, prefix, clamp
        if scale is None:  # PickScore's probability that the first of two is preferred
            self.p_better = lambda a, b: 1 / (1 + math.exp(b - a))
        # SigLIP reads what it says of a text off the last position, and was trained on texts filled up to one length.
        whole = model.config.model_type.startswith("siglip")
        self._padding: dict[str, Any] = (
            {"padding": "max_length", "max_length": model.config.text_config.max_position_embeddings}
            if whole
            else {"padding": True}
        )

    @torch.no_grad()
    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Grade]:
        values: list[float] = []
        for start in range(0, len(images), self._batch_size):
            texts = [f"{self._prefix} {p.text}".strip() for p in prompts[start : start + self._batch_size]]
            shown = [image.convert("RGB") for image in images[start : start + self._batch_size]]
            values += self._together(texts, shown).tolist()
        return [grade(max(value, 0.0) if self._clamp else value) for value in values]

    def _together(self, texts: list[str], images: list[Image]) -> torch.Tensor:
        """(n,) Texts longer than the model reads are cut, as its authors cut them."""
        tokens = self._tokenizer(texts, truncation=True, return_tensors="pt", **self._padding).to(self._device)
        pixels = self._images(images=images, return_tensors="pt")["pixel_values"].to(self._device, self._model.dtype)
        of_texts = _embedding(self._model.get_text_features(**tokens))
        of_images = _embedding(self._model.get_image_features(pixel_values=pixels))
        scale = self._model.logit_scale.exp() if self._scale is None else self._scale
        return (scale * cosine_similarity(of_texts, of_images)).float().cpu()


def _embedding(features: Any) -> torch.Tensor:
    """transformers 5 returns an output object, 4 the tensor."""
    found: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return found.float()
