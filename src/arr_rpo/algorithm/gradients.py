"""The gradients of an optimizer step, of all processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from arr_rpo import ranks

BUCKET = 2**26  # numbers that are sent in one call: of a LoRA all, of a whole model not a second copy of it


def add_up(parameters: Iterable[nn.Parameter], bad: bool) -> bool:
    """Gives each parameter the sum of its gradients over all processes; None where no process has one. Those of shards were
    added up as they came.

    Returns whether the loss was `bad` in any process.
    """
    if ranks.world() == 1:
        return bad
    own = [p for p in parameters if not isinstance(p, DTensor)]
    device = own[0].device if own else "cpu"
    there = torch.tensor([bad, *(p.grad is not None for p in own)], dtype=torch.float32, device=device)
    dist.all_reduce(there)
    known = [p for p, count in zip(own, there[1:].tolist(), strict=True) if count]
    for bucket in _buckets(known):
        flat = torch.cat([_gradient(p) for p in bucket])
        dist.all_reduce(flat)
        for p, part in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
            p.grad = part.view_as(p).clone()
    return bool(there[0])


def _gradient(p: nn.Parameter) -> Tensor:
    return (torch.zeros_like(p) if p.grad is None else p.grad).flatten()


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    size = 0
    for p in parameters:
        if bucket and size + p.numel() > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(p)
        size += p.numel()
    if bucket:
        yield bucket
