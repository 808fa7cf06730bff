"""A cache with room holds what one without holds, whatever is added to it and picked out of it."""

from __future__ import annotations

import torch
from transformers.cache_utils import DynamicLayer

from arr_rpo.judge.local.roomy import ROOM, RoomyLayer


def test_it_is_a_cache_like_another() -> None:
    """Tokens in ones and in many, beyond its room, rows dropped, repeated and put in another order in between."""
    roomy, plain = RoomyLayer(), DynamicLayer()
    made, rows = torch.Generator().manual_seed(0), 3
    for tokens, picked in ((5, [2, 0]), (1, None), (ROOM, [1, 1, 0]), (2, None), (2 * ROOM, [0]), (1, None)):
        keys, values = torch.randn(2, rows, 2, tokens, 4, generator=made)
        for got, expected in zip(roomy.update(keys, values), plain.update(keys, values), strict=True):
            assert torch.equal(got, expected)
        if picked:
            index = torch.tensor(picked)
            roomy.batch_select_indices(index)
            plain.batch_select_indices(index)
            rows = len(picked)
            assert torch.equal(roomy.keys, plain.keys)
        assert roomy.get_seq_length() == plain.get_seq_length()


def test_what_is_there_is_not_copied() -> None:
    layer, token = RoomyLayer(), torch.ones(1, 1, 1, 4)
    first, _ = layer.update(token, token)
    assert all(layer.update(token, token)[0].data_ptr() == first.data_ptr() for _ in range(ROOM))
