"""A transformer whose weights lie in shards on all processes (FSDP2), and tensors that may or may not be shards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from arr_rpo import ranks
from arr_rpo.types import UserError


def shard(transformer: Any, device: str, whole: Iterable[nn.Parameter], compute: torch.dtype | None) -> None:
    """Shards the weights of a diffusers model over all processes, block by block, so that one block at a time is whole on each.

    Gradients of sharded weights are sums over the processes, not means.

    device: "cuda" or "cpu". whole: parameters that each process keeps whole, such as a LoRA. compute: dtype of the forward
    pass, where it is not that of the weights.

    Raises:
        UserError: its weights are quantized.
    """
    if any(not p.is_floating_point() for p in transformer.parameters()):
        raise UserError(
            f"trainer=fsdp2: the weights of {type(transformer).__name__} are quantized, and cannot be sharded: take "
            "policy/load=plain, or trainer=ddp, where each process has all of them"
        )
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=compute and torch.float32, cast_forward_inputs=False)
    mesh, kept = init_device_mesh(device, (dist.get_world_size(),)), set(whole)
    for p in kept:
        p.data = p.data.to(torch.device(device, torch.cuda.current_device()) if device == "cuda" else device)
    for part in [*blocks(transformer), transformer]:
        # The outermost too goes back into shards after each pass: what one process alone then does with it, as when it
        # saves, is no matter to the others.
        fully_shard(part, mesh=mesh, mp_policy=policy, ignored_params=kept, reshard_after_forward=True)
    for part in transformer.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def blocks(transformer: Any) -> list[nn.Module]:
    """The repeated blocks of a diffusers model, none inside another."""
    names = {*(getattr(transformer, "_repeated_blocks", None) or ()), *(getattr(transformer, "_no_split_modules", None) or ())}
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for module in transformer.modules():  # outer ones first
        if type(module).__name__ in names and module is not transformer and module not in inside:
            found.append(module)
            inside.update(module.modules())
    return found


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor. Of a shard, every process has to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def saved(tensor: Tensor) -> Tensor:
    """A tensor as it is saved: a shard's whole in the CPU memory of process 0, which saves, and nothing of it elsewhere; one
    that is no shard as it is. Every process has to ask."""
    if not isinstance(tensor, DTensor):
        return tensor
    everything = tensor.full_tensor()
    return everything.cpu() if ranks.rank() == 0 else everything.new_empty(0, device="cpu")


def like(value: Tensor, p: Tensor) -> Tensor:
    """`value` on the device of `p`; this process's shard of it, where `p` is one and `value`, the same in all, is not."""
    if not isinstance(p, DTensor) or isinstance(value, DTensor):
        return value.to(p.device)
    dim: int = cast("Any", p.placements[0]).dim
    parts, rank = value.chunk(p.device_mesh.size(), dim), p.device_mesh.get_local_rank()
    local = parts[rank] if rank < len(parts) else parts[0].narrow(dim, 0, 0)  # cut where it lies, and then moved
    return DTensor.from_local(local.to(p.device), p.device_mesh, p.placements, shape=p.shape, stride=p.stride())


def assign(p: nn.Parameter, value: Tensor) -> None:
    """Gives a parameter another value: by reference, or a shard by copy, since FSDP2 holds on to its memory."""
    if isinstance(p, DTensor):
        with torch.no_grad():
            local = cast("DTensor", p.detach()).to_local()
            local.copy_(cast("DTensor", like(value, p)).to_local())
    else:
        p.data = value.to(p.device)


def kept(p: nn.Parameter) -> Tensor:
    """The present value of a parameter, for `assign` to give back."""
    return p.detach().clone() if isinstance(p, DTensor) else p.data


@contextlib.contextmanager
def all_whole(module: nn.Module) -> Iterator[None]:
    """Inside, a sharded module's parameters are whole and on the CPU, to be saved by process 0. Every process has to enter."""
    sharded: list[tuple[nn.Module, str, Any]] = [
        (owner, name, p) for owner in module.modules() for name, p in owner._parameters.items() if isinstance(p, DTensor)
    ]
    try:
        for owner, name, p in sharded:
            owner._parameters[name] = nn.Parameter(saved(p.detach()), requires_grad=False)
        yield
    finally:
        for owner, name, p in sharded:
            owner._parameters[name] = p
