"""Tiny Kandinsky 5 (text to image): pictures as videos of one frame, Qwen2.5-VL's tokens and CLIP's summary, true CFG."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, Kandinsky5T2IPipeline, Kandinsky5Transformer3DModel
from transformers import CLIPTextModel, Qwen2VLImageProcessorPil, Qwen2VLProcessor

from arr_rpo.policy.pictures_only import pictures_only
from tests.policy.twins.base import Twin
from tests.policy.twins.more_parts import awaken, vae
from tests.policy.twins.parts import clip_config, clip_tokenizer, qwen_tokenizer
from tests.policy.twins.qwen import WIDTH, text_encoder

TEMPLATE = (  # the pipeline cuts off the first 40 tokens
    "system\nYou are a prompt engineer. Describe the image by detailing the color, shape, size, texture, quantity, text, "
    "spatial relationships of the objects and background:\nuser\n"
)
_with_large_pictures = Kandinsky5T2IPipeline.__init__


@functools.wraps(_with_large_pictures)
def with_small_pictures(self: Any, *args: Any, **kwargs: Any) -> None:
    """In place of the pipeline's `__init__`, which allows pictures of a megapixel alone."""
    _with_large_pictures(self, *args, **kwargs)
    self.resolutions = [(64, 64)]


def kandinsky5(folder: Path) -> None:
    """Saves a tiny `Kandinsky5T2IPipeline` to `folder`."""
    torch.manual_seed(0)
    tokens, clip = qwen_tokenizer(TEMPLATE), clip_tokenizer()
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        in_text_dim=WIDTH,
        in_text_dim2=16,
        time_dim=16,
        out_visual_dim=4,
        model_dim=32,
        ff_dim=48,
        num_text_blocks=1,
        num_visual_blocks=2,
        axes_dims=(4, 6, 6),
    )
    awaken(transformer)
    with pictures_only():
        Kandinsky5T2IPipeline(
            transformer=transformer,
            vae=vae(4, scaling_factor=0.3611),
            text_encoder=text_encoder(tokens),
            tokenizer=Qwen2VLProcessor(Qwen2VLImageProcessorPil(patch_size=4), tokens),
            text_encoder_2=CLIPTextModel(clip_config(clip, 16)),
            tokenizer_2=clip,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        ).save_pretrained(folder)


TWINS = {
    "kandinsky5": Twin(
        build=kandinsky5,
        overrides=["policy.call.height=64", "policy.call.width=64", "policy.call.max_sequence_length=64"],
        patches={
            "diffusers.pipelines.kandinsky5.pipeline_kandinsky_t2i.Kandinsky5T2IPipeline.__init__": with_small_pictures,
        },
    )
}
