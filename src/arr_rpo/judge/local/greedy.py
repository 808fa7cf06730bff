"""Greedy decoding that rows leave as they end. `generate` of transformers goes on reading padding until the last one ends."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

WORTH = 0.8  # share of the rows left at which the others are let go: that copies the cache, about as much as a pass does


def greedy(
    model: Any, input_ids: Tensor, *, logits_processor: Any, stopping_criteria: Any, generation_config: Any, **kwargs: Any
) -> Tensor:
    """The decoding loop of `generate` (its `custom_generate`): the same tokens as without sampling.

    Processors and criteria see all rows all the time, (B, L) and (B, V), as some count them; the model those that go on.
    """
    rows = torch.arange(len(input_ids), device=input_ids.device)
    unfinished = torch.ones_like(rows, dtype=torch.bool)
    given = model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **kwargs)
    while True:
        out = model(**given, return_dict=True)
        kwargs = model._update_model_kwargs_for_generation(out, kwargs)
        scores = torch.zeros(len(input_ids), out.logits.shape[-1], device=input_ids.device)
        scores[rows] = out.logits[:, -1].float()
        chosen = logits_processor(input_ids, scores).argmax(-1)
        chosen = torch.where(unfinished, chosen, input_ids[:, -1])  # after its end a row repeats the token of the end
        input_ids = torch.cat([input_ids, chosen[:, None]], -1)
        unfinished = unfinished & ~stopping_criteria(input_ids, None)
        left = unfinished[rows].nonzero()[:, 0]
        if not len(left):
            return input_ids
        if len(left) < WORTH * len(rows):
            kwargs = {name: _selected(name, value, rows, left) for name, value in kwargs.items()}
            rows = rows[left]
        given = model.prepare_inputs_for_generation(input_ids[rows], next_sequence_length=1, **kwargs)


def _selected(name: str, value: Any, rows: Tensor, left: Tensor) -> Any:
    """What the model is given for each of `rows`, of those that are left."""
    if name == "past_key_values":
        value.batch_select_indices(left)
    elif name == "position_ids":  # three a token with M-RoPE
        return value[..., left, :]
    elif isinstance(value, Tensor) and len(value) == len(rows):
        return value[left]
    return value
