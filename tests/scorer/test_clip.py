"""CLIPScore by a tiny random CLIP, against the formula."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer, SiglipConfig, SiglipModel

from arr_rpo.scorer.clip import ClipScorer
from arr_rpo.types import Prompt, UserError

PROMPTS = [Prompt("a", "a cat"), Prompt("b", "a dog and a cat"), Prompt("c", "a" * 200)]
IMAGES = [Image.new("RGB", (40, 30), color) for color in ("red", "green", "blue")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    text = {**small, "vocab_size": len(vocabulary), "bos_token_id": 0, "eos_token_id": 1, "max_position_embeddings": 20}
    config = CLIPConfig(
        text_config=text,
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
        logit_scale_init_value=1.0,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[], model_max_length=20).save_pretrained(
        folder
    )
    size = {"height": 16, "width": 16}
    CLIPImageProcessor(size=size, crop_size=size).save_pretrained(folder)
    return folder


def scorer(folder: Path, **changes: object) -> ClipScorer:
    given = {"device": "cpu", "scale": 2.5, "batch_size": 2, "prefix": "A photo depicts", "clamp": True}
    return ClipScorer(checkpoint=str(folder), **{**given, **changes})  # type: ignore[arg-type]


def by_hand(folder: Path, prefix: str) -> list[float]:
    """Cosines, one picture at a time, by the model's own forward pass."""
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer, processor = CLIPTokenizer.from_pretrained(folder), CLIPImageProcessor.from_pretrained(folder)
    cosines = []
    for prompt, image in zip(PROMPTS, IMAGES, strict=True):
        tokens = tokenizer([f"{prefix} {prompt.text}".strip()], truncation=True, return_tensors="pt")
        with torch.no_grad():
            out = model(pixel_values=processor([image], return_tensors="pt")["pixel_values"], **tokens)
        a, b = out.text_embeds[0], out.image_embeds[0]
        cosines.append(float((a @ b) / (a.norm() * b.norm())))
    return cosines


def test_clipscore(folder: Path) -> None:
    expected = [2.5 * max(cosine, 0.0) for cosine in by_hand(folder, "A photo depicts")]
    got = [grade.value for grade in scorer(folder).score(PROMPTS, IMAGES)]
    assert got == pytest.approx(expected, abs=1e-5)


def test_the_models_own_scale_and_sign(folder: Path) -> None:
    scale = float(CLIPModel.from_pretrained(folder).logit_scale.exp().detach())
    cosines = by_hand(folder, "")
    assert min(cosines) < 0  # so that something is clamped above
    got = [grade.value for grade in scorer(folder, scale=None, prefix="", clamp=False).score(PROMPTS, IMAGES)]
    assert got == pytest.approx([scale * cosine for cosine in cosines], abs=1e-5)


def test_siglip_does_not_depend_on_who_stands_beside(folder: Path, tmp_path: Path) -> None:
    """It reads a text off its last position, so that texts are filled up to one length."""
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": 54, "max_position_embeddings": 20, "projection_size": 16, "pad_token_id": 1}
    seen = {**small, "image_size": 16, "patch_size": 8}
    SiglipModel(SiglipConfig(text_config=text, vision_config=seen)).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(folder / name, tmp_path / name)
    alone, together = (scorer(tmp_path, batch_size=n, clamp=False).score(PROMPTS, IMAGES) for n in (1, 3))
    values = [one.value for one in together]
    assert [one.value for one in alone] == pytest.approx(values, abs=1e-5)
    assert len({round(value or 0.0, 4) for value in values}) == 3


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no readable model of pictures and texts"):
        scorer(tmp_path)
