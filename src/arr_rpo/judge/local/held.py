"""Generation that is held to a JSON schema: of each token only what can still become such an object (llguidance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
import torch
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
        return Held([llguidance.LLMatcher(self._tokenizer, text) for text in texts], read)


class Held(LogitsProcessor):
    """Masks what no row may write next. A row that is done is left alone: what follows is padding."""

    def __init__(self, matchers: Sequence[llguidance.LLMatcher], read: int) -> None:
        self._matchers, self._read = matchers, read

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        for row, matcher in enumerate(self._matchers):
            if input_ids.shape[1] > self._read and not matcher.is_stopped():
                matcher.consume_token(int(input_ids[row, -1]))
            if matcher.is_stopped():
                continue
            mask = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
            allowed = torch.from_numpy(mask[: scores.shape[1]].astype(bool)).to(scores.device)
            scores[row] = scores[row].masked_fill(~allowed, float("-inf"))
        return scores
