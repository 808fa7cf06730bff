"""Which weights are trained: a LoRA on the transformer, or all of the transformer's own. Both know their reference."""

from __future__ import annotations

import contextlib
import inspect
import stat
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import _collate_lora_metadata, cast_training_params
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor, nn

from arr_rpo import ranks
from arr_rpo.policy.lora_linear import computed_leanly
from arr_rpo.policy.master_weights import ComputesIn
from arr_rpo.policy.pictures_only import pictures_only
from arr_rpo.policy.sharding import all_whole, assign, kept, like, shard
from arr_rpo.policy.starting_lora import take_over
from arr_rpo.types import UserError

STARTS_AT_THE_BASE = ("gaussian", "orthogonal")  # of peft's ways to begin, beside its default


class Adapter(Protocol):
    """Trains some weights of a pipeline's transformer. light: whether what `save` writes is small beside the model.

    shard: puts the transformer's weights into shards on all processes. `save` then is for every process to call; process 0
    writes.
    """

    light: bool

    def attach(self, pipe: DiffusionPipeline) -> None: ...
    def parameters(self) -> dict[str, nn.Parameter]: ...
    def shard(self, device: str) -> None: ...
    def reference(self) -> contextlib.AbstractContextManager[None]: ...
    def save(self, folder: Path) -> None: ...
    def load(self, folder: Path) -> None: ...


@contextlib.contextmanager
def swapped(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, `parameters` have `values`."""
    now = {name: kept(p) for name, p in parameters.items()}
    try:
        for name, p in parameters.items():
            assign(p, values[name])
        yield
    finally:
        for name, p in parameters.items():
            assign(p, now[name])


class Lora:
    """A low-rank adapter (arXiv 2106.09685) by peft, in float32 whatever the base is. The reference is what it starts as: the
    base, which is the adapter switched off, or with `start_from` the LoRA of that folder or file (`starting_lora`).

    target_modules, exclude_modules: names of the transformer's layers, or how they end, as in peft's `LoraConfig`.
    """

    light = True

    def __init__(
        self,
        *,
        rank: int,
        alpha: int,
        target_modules: Sequence[str],
        exclude_modules: Sequence[str] | str | None,
        init_lora_weights: bool | str,
        start_from: str | None = None,  # a run of before does not know it
    ) -> None:
        if init_lora_weights is not True and init_lora_weights not in STARTS_AT_THE_BASE:
            raise UserError(
                f"policy.adapter.init_lora_weights={init_lora_weights}: true and {', '.join(STARTS_AT_THE_BASE)} start at the "
                "base, which the reference is and other programs load; other ways change it, or do not start there"
            )
        excluded = exclude_modules if exclude_modules is None or isinstance(exclude_modules, str) else list(exclude_modules)
        self._config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=list(target_modules),
            exclude_modules=excluded,
            init_lora_weights=init_lora_weights,
        )
        self._pipe: Any = None
        self._start_from = start_from
        self._first: dict[str, Tensor] = {}

    def attach(self, pipe: DiffusionPipeline) -> None:
        self._pipe = pipe
        pipe.transformer.requires_grad_(False)
        try:
            pipe.transformer.add_adapter(self._config)
        except ValueError as error:  # peft's word for "no layer has such a name"
            name = type(pipe.transformer).__name__
            raise UserError(f"policy.adapter.target_modules does not fit {name}: {error}") from error
        if self._start_from is not None:
            take_over(pipe, self._start_from)
        computed_leanly(pipe.transformer)
        cast_training_params([pipe.transformer])  # to float32: a step of 1e-4 is lost in a bfloat16 weight
        if self._start_from is not None:
            self._first = {name: p.detach().clone() for name, p in self.parameters().items()}

    def parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self._pipe.transformer.named_parameters() if "lora_" in name}

    def shard(self, device: str) -> None:
        """The frozen weights; the LoRA stays whole in each process, so that it is averaged, saved and restored as ever."""
        shard(self._pipe.transformer, device, self.parameters().values(), None)

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        """Inside, the transformer is the reference model."""
        if self._first:
            with swapped(self.parameters(), self._first):
                yield
            return
        self._pipe.transformer.disable_adapters()
        try:
            yield
        finally:
            self._pipe.transformer.enable_adapters()

    def save(self, folder: Path) -> None:
        """A folder for the stock pipeline's `load_lora_weights`. With the metadata, or `lora_alpha` would be lost silently.

        A pipeline without that method gets a folder for its transformer's `load_lora_adapter`.
        """
        transformer = self._pipe.transformer
        if ranks.rank():
            return
        if hasattr(self._pipe, "save_lora_weights"):
            type(self._pipe).save_lora_weights(
                folder,
                transformer_lora_layers=get_peft_model_state_dict(transformer),
                **_collate_lora_metadata({"transformer": transformer}),
            )
        else:
            transformer.save_lora_adapter(folder, adapter_name="default")
        as_readable_as_others(folder)

    def load(self, folder: Path) -> None:
        """Loads what `save` wrote, by the same methods of pipeline or transformer as `save`."""
        transformer = self._pipe.transformer
        trained = {name: p.shape for name, p in self.parameters().items()}
        transformer.delete_adapters("default")
        if hasattr(self._pipe, "load_lora_weights"):
            self._pipe.load_lora_weights(folder, adapter_name="default")
        else:
            transformer.load_lora_adapter(folder, adapter_name="default", prefix=None, use_safetensors=True)
        computed_leanly(transformer)
        if {name: p.shape for name, p in self.parameters().items()} != trained:
            raise UserError(f"{folder} holds no LoRA of this run's {type(self._pipe).__name__}: its layers or its rank differ")


class Full:
    """All weights of the transformer, in float32 whatever it computes in; the reference is the first ones, swapped in.

    The reference stays in the dtype that the transformer computes in, and goes to the weights' device with the first use.

    of_lora: what a model's file sets for a LoRA; it says nothing about full training.
    """

    light = False

    def __init__(self, **of_lora: Any) -> None:
        if unknown := sorted(of_lora.keys() - inspect.signature(Lora).parameters.keys()):
            raise UserError(f"policy.adapter has no setting {unknown[0]!r}")
        self._pipe: Any = None
        self._first: dict[str, Tensor] = {}
        self._computes: ComputesIn | None = None

    def attach(self, pipe: DiffusionPipeline) -> None:
        self._pipe = pipe
        pipe.transformer.requires_grad_(True)
        parameters = self.parameters()
        if all(p.dtype == torch.float32 for p in parameters.values()):
            self._first = {name: p.detach().clone() for name, p in parameters.items()}
            return
        self._computes = ComputesIn(pipe.transformer)
        self._first = {name: p.detach().clone() if p.dtype == torch.float32 else p.data for name, p in parameters.items()}
        for p in parameters.values():
            p.data = p.data.float()  # a step of 1e-4 is lost in a bfloat16 weight

    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(self._pipe.transformer.named_parameters())

    def shard(self, device: str) -> None:
        """The weights, their gradients and moments, and those of the reference."""
        shard(self._pipe.transformer, device, (), self._computes and self._computes.compute_dtype)
        if self._computes:
            self._computes.casts = False  # FSDP2 does it, block by block
        self._first = {name: like(self._first[name], p) for name, p in self.parameters().items()}

    @contextlib.contextmanager
    def reference(self) -> Iterator[None]:
        parameters = self.parameters()
        self._first = {name: like(first, parameters[name]) for name, first in self._first.items()}
        with swapped(parameters, self._first):
            yield

    def save(self, folder: Path) -> None:
        """A pipeline folder for `from_pretrained` in the policy's dtype, with the stock scheduler, so that it loads without
        this package."""
        ours = self._pipe.scheduler
        self._pipe.scheduler = FlowMatchEulerDiscreteScheduler.from_config(ours.config)
        try:
            with torch.no_grad(), all_whole(self._pipe.transformer), pictures_only():
                cast = self._computes.cast(self._pipe.transformer) if self._computes else contextlib.nullcontext()
                with cast:
                    if ranks.rank() == 0:
                        self._pipe.save_pretrained(folder)
                        as_readable_as_others(folder)
        finally:
            self._pipe.scheduler = ours

    def load(self, folder: Path) -> None:
        """Loads the transformer of a folder that `save` wrote."""
        trained = type(self._pipe.transformer).from_pretrained(folder, subfolder="transformer", local_files_only=True)
        self._pipe.transformer.load_state_dict(trained.state_dict())


def as_readable_as_others(folder: Path) -> None:
    """Gives weights the mode of any new file: safetensors keeps what it writes from everybody else."""
    new = folder / f".{uuid.uuid4().hex}"
    new.touch()
    mode = stat.S_IMODE(new.stat().st_mode)
    new.unlink()
    for path in folder.rglob("*.safetensors"):
        path.chmod(mode)
