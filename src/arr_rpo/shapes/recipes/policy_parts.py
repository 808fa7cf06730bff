"""The embedded policies' parts at birth: a real `FluxPipeline` at small size, with random weights and one-word tokens, and
the `FluxKontextPipeline` that begins as that policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

from arr_rpo.shapes.world import edits
from arr_rpo.shapes.world.vocabulary import CELLS, COLOURS, NUMBERS, PHRASINGS, RELATIONS, SHAPES, plural

MAX_TOKENS = 12  # "a photo of a red circle left of a blue square" and the end token; no instruction is longer
LATENT_CHANNELS = 8
TEXT_WIDTH = 96
POOLED_WIDTH = 32


def words() -> list[str]:
    """Every word that a prompt for a picture can contain."""
    sentence = [*PHRASINGS, *COLOURS, *SHAPES, *map(plural, SHAPES), *NUMBERS.values(), *RELATIONS, "and"]
    return sorted({word for part in sentence for word in part.split()})


def instruction_words() -> list[str]:
    """Every word that an instruction can contain, after those of `words`."""
    told = [word for phrasings in edits.PHRASINGS.values() for text in phrasings for word in text.split() if "{" not in word]
    placed = [word for cell in CELLS for word in cell.split()]
    return [*words(), *sorted({*told, *placed} - set(words()))]


def clip_tokenizer(known: Sequence[str]) -> CLIPTokenizer:
    """Byte-pair merges learned on the words alone, so that each becomes one token.

    The trainer numbers its tokens in an order that changes from process to process: they are numbered anew, or a resumed
    run would find its embeddings permuted.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(vocab_size=2000, end_of_word_suffix="</w>", special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(list(known) * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab = [*special, *sorted(set(model["vocab"]) - set(special))]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate(vocab)},
        merges=[tuple(merge) for merge in model["merges"]],
        model_max_length=MAX_TOKENS + 1,
    )


def t5_tokenizer(known: Sequence[str]) -> T5Tokenizer:
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -1.0) for word in known)]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=MAX_TOKENS)


def _vae() -> AutoencoderKL:
    """32x32 pixels to 8x8 latents of 8 channels."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=32,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _clip_encoder(clip: CLIPTokenizer) -> CLIPTextModel:
    """Whose last token sums up the prompt for the modulation layers."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(clip),
            hidden_size=POOLED_WIDTH,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=MAX_TOKENS + 1,
            projection_dim=POOLED_WIDTH,
            bos_token_id=clip.bos_token_id,
            eos_token_id=clip.eos_token_id,
            pad_token_id=clip.pad_token_id,
        )
    )


def _t5_encoder(t5: T5Tokenizer) -> T5EncoderModel:
    """Whose tokens the transformer attends to."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(t5),
            d_model=TEXT_WIDTH,
            d_kv=24,
            d_ff=256,
            num_layers=3,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
        )
    )


def _transformer() -> FluxTransformer2DModel:
    """2 double and 4 single blocks, 128 wide."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=POOLED_WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


def build_pipeline() -> FluxPipeline:
    """A `FluxPipeline` for 32x32 pictures (16 latent tokens of 32 numbers), 3.3 M parameters, untrained."""
    clip, t5 = clip_tokenizer(words()), t5_tokenizer(words())
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=4.0),
        vae=_vae(),
        text_encoder=_clip_encoder(clip),
        tokenizer=clip,
        text_encoder_2=_t5_encoder(t5),
        tokenizer_2=t5,
        transformer=_transformer(),
    )


def build_edit_pipeline(start_from: str) -> FluxKontextPipeline:
    """The parts of the `FluxPipeline` in a folder as a `FluxKontextPipeline`, whose tokenizers know the words of instructions.

    Words that are new to its text encoders have random embeddings.
    """
    old = FluxPipeline.from_pretrained(start_from, dtype=torch.float32, local_files_only=True)
    clip, t5 = clip_tokenizer(instruction_words()), t5_tokenizer(instruction_words())
    return FluxKontextPipeline(
        scheduler=old.scheduler,
        vae=old.vae,
        text_encoder=_with_vocabulary(old.text_encoder, old.tokenizer, clip),
        tokenizer=clip,
        text_encoder_2=_with_vocabulary(old.text_encoder_2, old.tokenizer_2, t5),
        tokenizer_2=t5,
        transformer=old.transformer,
    )


def _with_vocabulary(encoder: Any, old: Any, new: Any) -> Any:
    """The encoder for another tokenizer: tokens that both know keep their embeddings, others get some of the same spread."""
    table = encoder.get_input_embeddings().weight.detach()
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(len(new), table.shape[1], generator=generator) * table.std()
    old_ids, new_ids = old.get_vocab(), new.get_vocab()
    for token in new_ids.keys() & old_ids.keys():
        rows[new_ids[token]] = table[old_ids[token]]
    encoder.set_input_embeddings(torch.nn.Embedding.from_pretrained(rows, freeze=False))
    encoder.config.vocab_size = len(new)
    return encoder
