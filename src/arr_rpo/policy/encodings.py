"""Keeps what was computed of prompts and pictures in bounded memory: on the device first, then in CPU memory, then on disk."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from arr_rpo.types import UserError

GIB = 2**30


class Encodings:
    """Values by their keys. A value is a tensor, or lists and tuples (nested) of tensors and of what is no tensor.

    What was not asked for the longest goes first: from the device where it was computed to CPU memory, and from there to a
    temporary folder if it is `lasting` (can not be computed again), else away. A hit is back on its device, equal to the bit.
    An entry larger than a limit passes that place by. Of a pipeline on a CPU both limits are of CPU memory.

    Args:
        device_gib: GiB of entries on the device at most.
        host_gib: GiB of entries in CPU memory at most.

    Attributes:
        hits, misses: how often a value was there, and how often it had to be computed.
        disk_bytes: of the entries that were ever written; those that came back keep their file.
    """

    def __init__(self, *, device_gib: float, host_gib: float) -> None:
        if min(device_gib, host_gib) < 0:
            raise UserError(
                f"policy.encodings: device_gib={device_gib}, host_gib={host_gib}: none can be negative; 0 keeps nothing there"
            )
        self._device, self._host = _Shelf(int(device_gib * GIB)), _Shelf(int(host_gib * GIB))
        self._disk: dict[bytes, _Entry] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.hits = self.misses = self.disk_bytes = 0

    def has_room(self, tensors: int) -> bool:
        """Whether so many bytes more would stay below the limit of the device."""
        return self._device.bytes + tensors <= self._device.limit

    @property
    def device_bytes(self) -> int:
        """Of the entries on the device."""
        return self._device.bytes

    @property
    def host_bytes(self) -> int:
        """Of the entries that went to CPU memory."""
        return self._host.bytes

    def __contains__(self, key: object) -> bool:
        digest = _digest(key)
        return any(digest in place for place in (self._device, self._host, self._disk))

    def get(self, key: object, compute: Callable[[], Any], *, lasting: bool) -> Any:
        """The value of `key`, computed if it is not there. Keys are equal if they are written alike."""
        digest = _digest(key)
        entry = self._device.pop(digest) or self._host.pop(digest) or self._disk.pop(digest, None)
        if entry is None:
            entry = _Entry(compute(), lasting)
            self.misses += 1
        else:
            entry.to_device()
            self.hits += 1
        value = entry.value()
        if entry.bytes > self._device.limit:
            self._to_host(digest, entry)
        else:
            for old in self._device.put(digest, entry):
                self._to_host(*old)
        return value

    def _to_host(self, digest: bytes, entry: _Entry) -> None:
        entry.to_host()
        if entry.bytes > self._host.limit:
            self._to_disk(digest, entry)
        else:
            for old in self._host.put(digest, entry):
                self._to_disk(*old)

    def _to_disk(self, digest: bytes, entry: _Entry) -> None:
        if not entry.lasting:
            return
        if entry.file is None:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="arr_rpo_encodings_")
            entry.write(Path(self._folder.name) / f"{digest.hex()}.safetensors")
            self.disk_bytes += entry.bytes
        entry.let_go()
        self._disk[digest] = entry


class _Shelf:
    """Entries within a limit in bytes, the least recently used first."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._entries

    def pop(self, digest: bytes) -> _Entry | None:
        entry = self._entries.pop(digest, None)
        self.bytes -= entry.bytes if entry else 0
        return entry

    def put(self, digest: bytes, entry: _Entry) -> list[tuple[bytes, _Entry]]:
        """Adds an entry; returns those that had to go for it."""
        self._entries[digest] = entry
        self.bytes += entry.bytes
        gone = []
        while self.bytes > self.limit:
            gone.append(self._entries.popitem(last=False))
            self.bytes -= gone[-1][1].bytes
        return gone


class _Entry:
    """A value: its tensors, wherever they are, and what they are leaves of.

    bytes: that the tensors keep allocated, so that views of one storage count once, and a part of a storage as all of it.
    """

    def __init__(self, value: Any, lasting: bool) -> None:
        leaves, self._tree = tree_flatten(value)
        self.lasting = lasting
        self.file: Path | None = None
        self._others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self._tensors = {number: leaf for number, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
        self._devices = {number: tensor.device for number, tensor in self._tensors.items()}
        self.bytes = storage_bytes(self._tensors.values())

    def value(self) -> Any:
        return tree_unflatten([self._tensors.get(number, other) for number, other in enumerate(self._others)], self._tree)

    def to_device(self) -> None:
        if self.file is not None and not self._tensors:
            self._tensors = {int(number): tensor for number, tensor in load_file(self.file).items()}
        self._tensors = {number: tensor.to(self._devices[number]) for number, tensor in self._tensors.items()}
        self.bytes = storage_bytes(self._tensors.values())

    def to_host(self) -> None:
        self._tensors = {number: tensor.cpu() for number, tensor in self._tensors.items()}
        self.bytes = storage_bytes(self._tensors.values())

    def write(self, file: Path) -> None:
        """To a file, from which `to_device` reads.

        Raises:
            UserError: it cannot be written.
        """
        try:  # copies, as safetensors takes no tensors that share memory or have gaps
            save_file({str(n): t.clone(memory_format=torch.contiguous_format) for n, t in self._tensors.items()}, file)
        except Exception as error:
            raise UserError(
                f"the encodings of the prompts do not fit into policy.encodings.host_gib, and {file.parent} cannot take them "
                f"({type(error).__name__}: {error}). Raise policy.encodings.host_gib, or name a folder with room in the "
                "environment variable TMPDIR"
            ) from error
        self.file = file

    def let_go(self) -> None:
        """Of the tensors, which are in the file."""
        self._tensors, self.bytes = {}, 0


def _digest(key: object) -> bytes:
    """Keys are counted in no limit, so that they have to be small."""
    return hashlib.sha256(repr(key).encode()).digest()


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """That tensors keep allocated, where several may share a storage."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
