"""Tiny tokenizers, text encoders and VAEs that several twins share. Every tokenizer takes any text (bytes or characters)."""

from __future__ import annotations

import string
from typing import Any

import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    GlmConfig,
    GlmModel,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralVisionConfig,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

WIDTH = 32  # of every text encoder

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def fast_tokenizer(padding_side: str) -> PreTrainedTokenizerFast:
    """A token a byte after a <s>, in the class of GLM's, Llama's and Mistral's tokenizers."""
    names = ["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
    pieces = [*names, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.add_special_tokens(names)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=CHAT_TEMPLATE,
        model_max_length=4096,
        padding_side=padding_side,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )


def gemma_tokenizer() -> GemmaTokenizer:
    """A token a byte, after a <bos>."""
    letters = ["▁", *string.ascii_letters, *string.digits, *string.punctuation]
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    return GemmaTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=4096)


def text_shape(**special: Any) -> dict[str, Any]:
    """The shape of a small decoder-only language model, under the names that transformers' configs share."""
    return {
        "vocab_size": 1600,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    } | special


def gemma_encoder() -> Gemma2Model:
    return Gemma2Model(Gemma2Config(**text_shape(query_pre_attn_scalar=16))).eval()


def glm_encoder() -> GlmModel:
    return GlmModel(GlmConfig(**text_shape())).eval()


def mistral_encoder(layers: int = 2) -> Mistral3ForConditionalGeneration:
    """The language part reads; the eyes are there because the class has them."""
    text = MistralConfig(**text_shape(num_hidden_layers=layers))
    eyes = PixtralVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, image_size=32, patch_size=16
    )
    return Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=eyes)).eval()


def qwen3_encoder() -> Qwen3Model:
    return Qwen3Model(Qwen3Config(**text_shape())).eval()


def t5_encoder() -> T5EncoderModel:
    return T5EncoderModel(_t5(T5Config)).eval()


def umt5_encoder() -> UMT5EncoderModel:
    return UMT5EncoderModel(_t5(UMT5Config)).eval()


def _t5(config: type[Any]) -> Any:
    shape = {"d_model": WIDTH, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
    return config(vocab_size=128, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **shape)


def vae(
    latent_channels: int, *, blocks: int = 4, scaling_factor: float = 1.0, shift_factor: float | None = 0.0
) -> AutoencoderKL:
    """Divides each side by 2 ** (blocks - 1)."""
    return AutoencoderKL(
        latent_channels=latent_channels, scaling_factor=scaling_factor, shift_factor=shift_factor, **_blocks(blocks)
    )


def _blocks(blocks: int) -> dict[str, Any]:
    return {
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": (8,) * blocks,
        "down_block_types": ("DownEncoderBlock2D",) * blocks,
        "up_block_types": ("UpDecoderBlock2D",) * blocks,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "sample_size": 32,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    }


def flux2_vae(latent_channels: int, *, blocks: int = 4) -> AutoencoderKLFlux2:
    """FLUX.2's, whose latents are normalised patchwise."""
    return AutoencoderKLFlux2(latent_channels=latent_channels, **_blocks(blocks))


def qwen_vae(latent_channels: int) -> AutoencoderKLQwenImage:
    """Divides each side by 8."""
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=latent_channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * latent_channels,
        latents_std=[1.0] * latent_channels,
    )


def awaken(module: nn.Module, std: float = 0.1, gain: float = 1.0) -> None:
    """Fills weights that the library initialises with zeros and enlarges matrices, so that the output depends on all inputs."""
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=std)
            elif parameter.ndim > 1:
                parameter.mul_(gain)


def qwen3_vl(tokenizer: Qwen2Tokenizer, layers: int = 2) -> Qwen3VLForConditionalGeneration:
    """The language part reads prompts; the eyes are there for the pipelines that edit."""
    ids = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=text_shape(num_hidden_layers=layers, intermediate_size=16, rope_parameters=rope),
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "patch_size": 4,
                "out_hidden_size": WIDTH,
                "deepstack_visual_indexes": [0],
                "num_position_embeddings": 16,
            },
            image_token_id=ids("<|image_pad|>"),
            video_token_id=ids("<|video_pad|>"),
            vision_start_token_id=ids("<|vision_start|>"),
            vision_end_token_id=ids("<|vision_end|>"),
        )
    ).eval()


def qwen3_vl_processor(tokenizer: Qwen2Tokenizer) -> transformers.Qwen3VLProcessor:
    """To be made and saved inside `pictures_only`."""
    return transformers.Qwen3VLProcessor(
        transformers.Qwen2VLImageProcessorPil(patch_size=4), tokenizer, chat_template=CHAT_TEMPLATE
    )
