"""Tiny Qwen-Image and Qwen-Image-Edit-Plus (2509): prompts are read by a vision-language model, guidance is true CFG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
)

from arr_rpo.policy.pictures_only import pictures_only
from tests.policy.twins.base import Twin
from tests.policy.twins.parts import loud, qwen_text, qwen_tokenizer

WIDTH = 32
# The pipelines' own texts around a prompt, which they cut off again by a fixed number of tokens (34 and 64).
TEMPLATE = (
    "system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the "
    "objects and background:\nuser\nassistant\n"
)
EDIT_TEMPLATE = (
    "system\nDescribe the key features of the input image (color, shape, size, texture, objects, background), then explain how "
    "the user's text instruction should alter or modify the image. Generate a new image that meets the user's requirements "
    "while maintaining consistency with the original input where appropriate.\nuser\nPicture 1: \nassistant\n"
)


def tokenizer() -> Qwen2Tokenizer:
    return qwen_tokenizer(TEMPLATE, EDIT_TEMPLATE)


def text_encoder(tokens: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    """A language model of 2 layers and eyes of 1, with patches of 4 pixels so that a small picture has several tokens."""
    ids = tokens.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={**qwen_text(tokens, WIDTH, 2), "rope_parameters": rope},
            vision_config={
                "depth": 1,
                "hidden_size": WIDTH,
                "intermediate_size": 2 * WIDTH,
                "num_heads": 2,
                "patch_size": 4,
                "window_size": 16,
                "fullatt_block_indexes": [0],
                "out_hidden_size": WIDTH,
            },
            image_token_id=ids("<|image_pad|>"),
            video_token_id=ids("<|video_pad|>"),
            vision_start_token_id=ids("<|vision_start|>"),
            vision_end_token_id=ids("<|vision_end|>"),
        )
    )


def autoencoder() -> AutoencoderKLQwenImage:
    """Four pixels a latent side, 4 channels."""
    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[-0.75, 0.1, 0.5, -0.3],
        latents_std=[2.8, 1.5, 1.2, 1.9],
    )


def transformer() -> QwenImageTransformer2DModel:
    return loud(
        QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        )
    )


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Whose last sigma before the end is stretched to 0.02."""
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    )


def qwen_image(folder: Path) -> None:
    """Saves a tiny `QwenImagePipeline` to `folder`."""
    torch.manual_seed(0)
    tokens = tokenizer()
    QwenImagePipeline(
        scheduler=scheduler(),
        vae=autoencoder(),
        text_encoder=text_encoder(tokens),
        tokenizer=tokens,
        transformer=transformer(),
    ).save_pretrained(folder)


def qwen_image_edit_plus(folder: Path) -> None:
    """Saves a tiny `QwenImageEditPlusPipeline` to `folder`."""
    save_editing(QwenImageEditPlusPipeline, folder)


def save_editing(pipeline: Any, folder: Path) -> None:
    """Saves a tiny `pipeline`, one of the two that edit."""
    torch.manual_seed(0)
    tokens = tokenizer()
    pictures = Qwen2VLImageProcessorPil(patch_size=4, size={"shortest_edge": 8 * 8, "longest_edge": 64 * 64})
    with pictures_only():
        pipeline(
            scheduler=scheduler(),
            vae=autoencoder(),
            text_encoder=text_encoder(tokens),
            tokenizer=tokens,
            processor=Qwen2VLProcessor(pictures, tokens),
            transformer=transformer(),
        ).save_pretrained(folder)


OVERRIDES = [
    "policy.call.height=32",
    "policy.call.width=32",
    "policy.adapter.exclude_modules='transformer_blocks.1.(attn.(add_q_proj|to_add_out)|txt_mlp.net.*)'",
]
PLUS = "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus"
PATCHES = {
    f"{PLUS}.VAE_IMAGE_SIZE": 32 * 32,
    f"{PLUS}.CONDITION_IMAGE_SIZE": 32 * 32,
}
TWINS = {
    "qwen_image": Twin(build=qwen_image, overrides=[*OVERRIDES, "policy.call.max_sequence_length=96"], source=False),
    "qwen_image_edit_plus": Twin(build=qwen_image_edit_plus, overrides=OVERRIDES, source=True, patches=PATCHES),
}
