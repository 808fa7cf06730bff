"""The embedded judge's parts at birth: a real `Qwen3VLForConditionalGeneration` at small size and its processor."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    AttentionInterface,
    AutoTokenizer,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from arr_rpo.judge.forms import example, grades, verdict
from arr_rpo.judge.local.qwen_processors import Qwen3VLProcessor
from arr_rpo.judge.wording import Wording, render
from arr_rpo.shapes.recipes import taught
from arr_rpo.shapes.world import edits, prompts
from arr_rpo.shapes.world.general import (
    DIMENSIONS,
    EDIT_DIMENSIONS,
    EDIT_GENERAL,
    GENERAL,
    critique_text,
    edit_critique_text,
    theme_of,
)
from arr_rpo.shapes.world.questions import questions_of
from arr_rpo.shapes.world.rubric_json import rubric_json, themes_json
from arr_rpo.shapes.world.vocabulary import CELLS, COLOURS, IMAGE_SIZE, NUMBERS, PHRASINGS, RELATIONS, SHAPES, TAGS, plural
from arr_rpo.types import Criterion, Outcome, Rubric

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|im_end|>"
VISION_START, IMAGE_PAD, VISION_END, VIDEO_PAD = "<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"
PATCH, MERGE = 4, 2
IMAGE_TOKENS = (IMAGE_SIZE // PATCH // MERGE) ** 2
TOGETHER = "pictures_of_one_size"

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|user|>' if message.role == 'user' else '<|assistant|>' }}"
    "{%- if message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content -%}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' if part.type == 'image' else part.text }}"
    "{%- endfor -%}{%- endif -%}"
    "{%- if message.role == 'assistant' -%}<|im_end|>{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


def _corpus() -> Iterator[str]:
    """Text with every word, in every place it can stand."""
    wording, rng, texts = Wording("shapes"), np.random.default_rng(0), list(taught.texts())
    for index in range(3000):
        metadata = prompts.random_metadata(TAGS[index % len(TAGS)], rng)
        questions = [(q.kind, str(q)) for q in questions_of(metadata)]
        yield rubric_json(questions)
        yield wording.say("write", prompt=prompts.describe(metadata, str(rng.choice(PHRASINGS))))
        scene = prompts.scene_of(prompts.mistaken(metadata, 0.5, rng), rng)
        yield critique_text(scene, metadata)
        yield from _edit_texts(wording, rng)
        if index % 10 == 0:
            likes = [texts[int(i)] for i in rng.permutation(len(texts))[:8]]
            yield rubric_json([("taste", text) for text in likes]) + example(verdict(likes)).replace("|", " ")
            yield render(likes) + "\n" + "\n".join(texts)
            asked = [text for _, text in questions] + list(GENERAL.values())
            yield example(verdict(asked)).replace("|", " ")
            yield rubric_json(list(GENERAL.items())) + themes_json(asked)
            yield render(Rubric(tuple(Criterion("", q, theme=theme_of(q)) for q in asked))) + "\n"
            yield example(grades(DIMENSIONS)).replace("|", " ")
            yield example(grades(EDIT_DIMENSIONS)).replace("|", " ") + rubric_json(list(EDIT_GENERAL.items()))
            yield from _roles(wording)
    for color, shape in itertools.product(COLOURS, (*SHAPES, *map(plural, SHAPES), "blob")):
        yield from (f"{cell} {color} {shape}, {cell} {color} {shape}" for cell in CELLS)
        yield f" {color} {shape}? the {color} {shape} a {shape} exactly {shape}"
    for number, relation in itertools.product(NUMBERS.values(), RELATIONS):
        yield f"are there exactly {number} objects in total? {number} {relation} the"
    for choice in ("yes", "no", "A", "B", "NA", *"0123456789"):
        yield from (choice, f'"{choice}"', f" {choice}") * 5
    yield from ("what is upper", "where is a", "how many", " and", " nowhere", " nothing", " zero", " upper left") * 3
    yield from ("nothing", "\n") * 3


def _edit_texts(wording: Wording, rng: np.random.Generator) -> Iterator[str]:
    source, edit = edits.random_edit(rng)
    text = edits.instruction(edit, int(rng.integers(3)))
    questions = [(name, str(q)) for name, q in edits.edit_questions(edit, source)]
    before, after = wording("write", edit=True, prompt=text)
    yield from (before + wording.say("source_label", edit=True), after, rubric_json(questions))
    yield edit_critique_text(edits.mistaken_edit(source, edit, rng), source, edit)


def _roles(wording: Wording) -> Iterator[str]:
    for role in (
        "check",
        "score",
        "compare",
        "compare_rubric",
        "plan",
        "critique",
        "write_pair",
        "write_general",
        "write_taste",
        "refine",
    ):
        for letter in "AB":
            for said in Outcome:
                fields = {"prompt": "x", "rubric": "1. is", "question": "is", "better": letter, "said": str(said)}
                for edit in (False, True):
                    before, after = wording(role, edit=edit, **fields)
                    yield from (before + wording.say("label", letter=letter), after)
    yield from (wording.say("describe"), wording.say("grade"), wording.say("structure", criteria="1. is\n2. are"))


def build_processor() -> Qwen3VLProcessor:
    """Byte-level byte-pair tokens learned on the judge's own texts (a word a token), and the PIL image processor."""
    special = ["<|endoftext|>", USER, ASSISTANT, END, VISION_START, IMAGE_PAD, VISION_END, VIDEO_PAD]
    tokenizer = Tokenizer(models.BPE())
    stock = Qwen2Tokenizer()._tokenizer  # Qwen's pre-tokenisation, without its vocabulary
    tokenizer.normalizer, tokenizer.pre_tokenizer = stock.normalizer, stock.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1100, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_corpus(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    qwen = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(m) for m in model["merges"]],
        eos_token=END,
        extra_special_tokens=special[1:],
        model_max_length=1024,
    )
    pixels = IMAGE_SIZE * IMAGE_SIZE
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=MERGE, size={"shortest_edge": pixels, "longest_edge": pixels},
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    return Qwen3VLProcessor(images, qwen, chat_template=CHAT_TEMPLATE)


def warm_start(model: Qwen3VLForConditionalGeneration, processor: Qwen3VLProcessor, folder: str) -> None:
    """Gives the model the weights of another embedded judge. Tokens that both vocabularies have keep their embedding."""
    other = Qwen3VLForConditionalGeneration.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
    weights, own = other.state_dict(), model.get_input_embeddings().weight.detach().clone()
    for token, row in processor.tokenizer.get_vocab().items():
        if token in theirs:
            own[row] = other.get_input_embeddings().weight[theirs[token]]
    for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = own
    model.load_state_dict(weights)


def build_model(processor: Qwen3VLProcessor) -> Qwen3VLForConditionalGeneration:
    """About 1.5 M parameters: text 128 wide, 4 layers; vision 96 wide, 3 layers, 16 tokens a picture."""
    ids = processor.tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(processor.tokenizer),
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "max_position_embeddings": 1024,
        # Of 16 frequencies most must turn slowly, or a thing cannot be found by what it is wherever it stands.
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [6, 5, 5], "mrope_interleaved": True},
        "tie_word_embeddings": True,
    }  # fmt: skip
    vision = {
        "depth": 3,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_heads": 4,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "out_hidden_size": 128,
        "num_position_embeddings": (IMAGE_SIZE // PATCH) ** 2,
        "deepstack_visual_indexes": [1],
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids(IMAGE_PAD),
        video_token_id=ids(VIDEO_PAD),
        vision_start_token_id=ids(VISION_START),
        vision_end_token_id=ids(VISION_END),
        tie_word_embeddings=True,
    )
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id  # or generation would not know where to stop
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return model


def see_together(model: Qwen3VLForConditionalGeneration) -> None:
    """Lets the model attend within each of its pictures, all of one size, at once; by itself it takes them one by one.

    It must then be called with `image_cu_seqlens` of one segment. What is saved is not changed by this.
    """
    AttentionInterface.register(TOGETHER, _attend_together)
    model.model.visual.config._attn_implementation = TOGETHER


def _attend_together(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """(1, heads, pictures * patches, width) each; attention within the pictures, as (1, pictures * patches, heads, width)."""
    patches = (IMAGE_SIZE // PATCH) ** 2
    q, k, v = (x[0].unflatten(1, (-1, patches)).transpose(0, 1) for x in (query, key, value))
    seen = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scaling)
    return seen.transpose(1, 2).flatten(0, 1)[None], None
