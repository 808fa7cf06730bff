"""A cache of keys and values that has room for more, so that reading a few tokens does not copy all that was read before."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 64  # tokens


def roomy_cache() -> Cache:
    return Cache(layer_class_to_replicate=RoomyLayer)


class RoomyLayer(DynamicLayer):
    """Its keys and values, each (B, H, L, D), are the beginnings of tensors of L and some more tokens."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._rooms = [key_states[..., :0, :], value_states[..., :0, :]]
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        for k, new in enumerate((key_states, value_states)):
            if self._rooms[k].shape[-2] < after:
                larger = new.new_empty(*new.shape[:2], after + ROOM, new.shape[-1])
                larger[..., :before, :] = self._rooms[k][..., :before, :]
                self._rooms[k] = larger
            self._rooms[k][..., before:after, :] = new
        return self._cut(after)

    def batch_select_indices(self, indices: Tensor) -> None:
        self._rooms = [room[indices] for room in self._rooms]
        self._cut(self.get_seq_length())

    def _cut(self, length: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = (room[..., :length, :] for room in self._rooms)
        return self.keys, self.values
