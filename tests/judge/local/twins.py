"""Tiny random-weight models of the real judges' classes, saved to folders, for the judge YAML of the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from tokenizers import pre_tokenizers
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from arr_rpo.judge.local.model import LocalModel
from arr_rpo.judge.local.qwen_processors import Qwen2_5_VLProcessor, Qwen3VLProcessor
from tests.conftest import configure

WIDTH, PATCH = 64, 4
SPECIAL = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
WORDS = ("yes", "no", "NA")

# What Qwen's own template makes of texts and images: a system turn, unless there is one, and images without numbers.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if loop.first and message.role != 'system' -%}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif -%}"
    "<|im_start|>{{ message.role }}\n"
    "{%- if message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content -%}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text }}"
    "{%- endfor -%}{%- endif -%}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)


def tokenizer() -> Qwen2Tokenizer:
    """A token a byte, and one for each word that answers are made of."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: index for index, piece in enumerate(["<|endoftext|>", *letters])}
    qwen = Qwen2Tokenizer(
        vocab=vocab, merges=[], eos_token="<|im_end|>", extra_special_tokens=list(SPECIAL), model_max_length=4096
    )
    qwen.add_tokens(list(WORDS))
    return qwen


def pictures() -> Qwen2VLImageProcessorPil:
    """Images keep their sizes, rounded to whole tokens of 8 pixels, up to 64 tokens."""
    return Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=2, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64})


def _text(tokens: Qwen2Tokenizer, layers: int, **rope: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokens),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3], **rope},
        "bos_token_id": None,
        "eos_token_id": tokens.eos_token_id,
    }


def _special(tokens: Qwen2Tokenizer) -> dict[str, int]:
    ids = tokens.convert_tokens_to_ids
    return {
        "image_token_id": ids("<|image_pad|>"),
        "video_token_id": ids("<|video_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


def qwen3_vl(folder: Path) -> None:
    """Eyes of 2 layers, the first of which also feeds the language model's first layer (DeepStack)."""
    tokens = tokenizer()
    config = Qwen3VLConfig(
        text_config=_text(tokens, 3, mrope_interleaved=True),
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_heads": 4,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        **_special(tokens),
    )
    _save(Qwen3VLForConditionalGeneration, config, Qwen3VLProcessor, tokens, folder)


def qwen25_vl(folder: Path) -> None:
    """Eyes of 2 layers, one of which looks at windows of 2 x 2 tokens only."""
    tokens = tokenizer()
    config = Qwen2_5_VLConfig(
        text_config=_text(tokens, 3),
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 2 * WIDTH,
            "num_heads": 4,
            "patch_size": PATCH,
            "window_size": 16,
            "fullatt_block_indexes": [1],
            "out_hidden_size": WIDTH,
        },
        **_special(tokens),
    )
    _save(Qwen2_5_VLForConditionalGeneration, config, Qwen2_5_VLProcessor, tokens, folder)


def _save(kind: type[PreTrainedModel], config: Any, processor: Any, tokens: Qwen2Tokenizer, folder: Path) -> None:
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():  # loud: at the library's initial weights an image or a word is hardly seen in the answer
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.mul_(4 if "embed_tokens" not in name else 10)
    model.generation_config.eos_token_id = tokens.eos_token_id
    model.generation_config.pad_token_id = tokens.pad_token_id
    model.save_pretrained(folder)
    processor(pictures(), tokens, chat_template=CHAT_TEMPLATE).save_pretrained(folder)


TWINS: Mapping[str, Callable[[Path], None]] = {"qwen3_vl": qwen3_vl, "qwen25_vl": qwen25_vl}


def make(name: str, folder: Path, *changes: str) -> LocalModel:
    """By the judge's own YAML. A random model spreads its probability, so a menu need not hold any."""
    own = ["checkpoint=" + str(folder), "device=cpu", "dtype=float32", "min_choice_mass=0", "batch_size=64", *changes]
    config = configure([f"judge={name}", "experiment=t2i_rpo", *(f"judge.model.{change}" for change in own)])
    model: LocalModel = instantiate(config.judge.model)
    return model
