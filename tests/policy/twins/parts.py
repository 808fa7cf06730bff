"""What the twins are put together from: tokenizers without files, text encoders and autoencoders of a few thousand weights."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from tokenizers import pre_tokenizers
from torch import nn
from transformers import CLIPTextConfig, CLIPTokenizer, Qwen2Tokenizer, T5Config, T5EncoderModel, T5Tokenizer

Model = TypeVar("Model", bound=nn.Module)

QWEN_SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# What a real Qwen checkpoint's template makes of one user message, with and without room to think.
QWEN3_CHAT_TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message.role + '\n' + message.content }}<|im_end|>{{ '\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking -%}<think>{{ '\n\n' }}</think>{{ '\n\n' }}{%- endif -%}"
    "{%- endif -%}"
)


def clip_tokenizer() -> CLIPTokenizer:
    """A token a byte; the last of a word is another one, as CLIP has it. 77 tokens, as everywhere."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return CLIPTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=77)


def t5_tokenizer() -> T5Tokenizer:
    """A token a printable character."""
    letters = ["▁", *(chr(code) for code in range(33, 127))]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -1.0) for letter in letters)]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def qwen_tokenizer(*whole: str) -> Qwen2Tokenizer:
    """A token a byte, but a token a word for the texts in `whole`.

    The pipelines put the prompt into a template and cut off what stands before it by a fixed number of tokens, so the
    template has to be as many tokens as it is with the real tokenizer.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: index for index, piece in enumerate(["<|endoftext|>", *letters])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], extra_special_tokens=list(QWEN_SPECIAL), model_max_length=1024)
    words = {word for text in whole for word in re.findall(r"'s| ?[^\s\w]+| ?\w+", text) if len(word) > 1}
    tokenizer.add_tokens(sorted(words))
    return tokenizer


def clip_config(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def t5_encoder(tokenizer: T5Tokenizer, width: int) -> T5EncoderModel:
    """With the dropout of the real one, which must not show: the policy keeps it in evaluation mode."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=width,
            d_kv=width // 2,
            d_ff=2 * width,
            num_layers=1,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )


def qwen_text(tokenizer: Qwen2Tokenizer, width: int, layers: int) -> dict[str, Any]:
    """The language part that Qwen2.5-VL's and Qwen3's configs have in common."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }


def kl_autoencoder(**settings: Any) -> AutoencoderKL:
    """Four pixels a latent side, 16 channels; `settings` has the real one's scaling and shift."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        **settings,
    )


def loud(transformer: Model) -> Model:
    """With matrices twice as large: at the library's initial ones a prompt or a source image is hardly seen in the picture."""
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2)
    return transformer
