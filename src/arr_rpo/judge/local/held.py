"""Generation that is held to a JSON schema: of each token only what can still become such an object (llguidance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
import torch
from llguidance.numpy import allocate_token_bitmask, consume_token_par, fill_next_token_bitmask_par
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerFast

COMPACT: Any = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}


class Grammars:
    """Of a model: its tokenizer as the library needs it, made once, and the grammar of each schema."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocabulary: int, ends: int | Sequence[int] | None) -> None:
        eos = ends if ends is None or isinstance(ends, int) else list(ends)
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=eos)

    def held(self, schemas: Sequence[Mapping[str, Any]], read: int) -> Held:
        """For one call of `generate` on rows that have `read` tokens, padding included."""
        texts = [llguidance.LLMatcher.grammar_from_json_schema(dict(schema), defaults=COMPACT) for schema in schemas]
        matchers = {text: llguidance.LLMatcher(self._tokenizer, text) for text in set(texts)}
        return Held([matchers[text].deep_copy() for text in texts], read)


class Held(LogitsProcessor):
    """Masks what no row may write next. A row that is done is left alone: what follows is padding."""

    def __init__(self, matchers: Sequence[llguidance.LLMatcher], read: int) -> None:
        self._matchers, self._read = matchers, read
        self._executor = llguidance.LLExecutor()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] > self._read:
            written = zip(self._matchers, input_ids[:, -1].tolist(), strict=True)
            consume_token_par(self._executor, [(matcher, token) for matcher, token in written if not matcher.is_stopped()])
        writing = [(matcher, row) for row, matcher in enumerate(self._matchers) if not matcher.is_stopped()]
        if not writing:
            return scores
        masks = allocate_token_bitmask(*scores.shape)  # of ones
        fill_next_token_bitmask_par(self._executor, writing, masks)
        allowed = np.unpackbits(masks.view(np.uint8), axis=1, count=scores.shape[1], bitorder="little")
        return scores.masked_fill(torch.from_numpy(allowed == 0).to(scores.device), float("-inf"))
