"""How much memory a policy needs, from its configurations alone: no weight is read and no GPU is asked.

One step of training and one of a rollout are run on torch's meta device, by the pipeline's own calls, as `PipelinePolicy`
makes them; what autograd keeps is counted there, not guessed. Left out: CUDA's context and the allocator's gaps (`RESERVE`
stands for both), workspaces of convolutions, the text encoders' own activations, the recorded latents, the reference's forward
pass beside a kept graph, an average of the weights (EMA), and the judge.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from arr_rpo.policy.adapter import Adapter
from arr_rpo.policy.dtypes import policy_dtype
from arr_rpo.policy.live_bytes import LiveBytes, gpu_kernels
from arr_rpo.policy.lora_linear import computed_by_peft
from arr_rpo.policy.scheduler import Probe
from arr_rpo.policy.sharding import blocks
from arr_rpo.policy.skeleton import call_arguments, read_architecture, skeleton
from arr_rpo.types import UserError

GIB = 2**30
CARDS = {"24 GB": 23.5, "40 GB": 39.4, "48 GB": 44.3, "80 GB": 79.1, "141 GB": 139.7}  # GiB that torch can use of them
RESERVE = 1.5 * GIB


@dataclass(frozen=True)
class Component:
    """One component: bytes of its parameters and its saved buffers; resident: whether it stays during training."""

    name: str
    class_name: str
    parameters: int
    dtype: str
    bytes: int
    resident: bool


@dataclass(frozen=True)
class Plan:
    """All in bytes but the two counts of parameters.

    adapter: weights that training adds: the LoRA; or the float32 weights beside the first ones, which stay as the reference.
    encodings: of prompts and source pictures that are kept on the GPU, at most.
    working_*: what a backward pass over a minibatch (without and with gradient checkpointing), an update of the weights and a
        rollout need for themselves, at most.
    shards: processes among which the transformer's weights are shared out (FSDP2; 1: each GPU has all of them), and in full
        training what belongs to them. gathered: what of it is whole on a GPU at once beside its shard.
    judge: a local judge on the same GPU.
    """

    source: str
    pipeline: str
    parts: tuple[Component, ...]
    trainable: int
    frozen: int
    adapter: int
    gradients: int
    optimizer: int
    encodings: int
    working_training: int
    working_checkpointed: int
    working_update: int
    working_rollout: int
    shards: int
    gathered: int
    judge: int

    @property
    def resident(self) -> int:
        """What lies on a GPU all the time, gradients, the optimizer's state, encodings and judge included."""
        parts = sum(self._share(part) for part in self.parts if part.resident)
        return parts + self.training_state + self.encodings + self.gathered + self.judge

    @property
    def training_state(self) -> int:
        """What is trained, its gradients and the optimizer's state: of a LoRA whole on each GPU, of all weights in shards."""
        state = self.adapter + self.gradients + self.optimizer
        return state // self.shards if self.all_trained else state

    @property
    def all_trained(self) -> bool:
        """Whether all weights of the transformer are trained, and no LoRA."""
        return any(part.name == "transformer" and part.parameters == self.trainable for part in self.parts)

    def _share(self, part: Component) -> int:
        return part.bytes // self.shards if part.name == "transformer" else part.bytes

    def peaks(self) -> dict[str, int]:
        """Of the start, with all components; of a training step without and with gradient checkpointing; of a rollout."""
        of_shards = self.shards if self.all_trained else 1
        adapter, update = self.adapter // of_shards, self.working_update // of_shards
        return {
            "start": sum(map(self._share, self.parts)) + adapter + self.encodings + self.gathered + self.judge,
            "training": self.resident + max(self.working_training, update),
            "training_checkpointed": self.resident + max(self.working_checkpointed, update),
            "rollout": self.resident + self.working_rollout,
        }

    def cards(self) -> dict[str, str]:
        """What of it fits on common cards, with `RESERVE` to spare."""
        peaks, words = self.peaks(), {}
        for card, gib in CARDS.items():
            room = gib * GIB - RESERVE
            if max(peaks["start"], peaks["rollout"], peaks["training_checkpointed"]) > room:
                words[card] = "no"
            else:
                words[card] = "yes" if peaks["training"] <= room else "with gradient checkpointing"
        return words


def make_plan(
    *,
    checkpoint: str,
    adapter: Adapter,
    dtype: str,
    call: Mapping[str, Any],
    load: Mapping[str, Any],
    release_text_encoders: bool,
    minibatch_size: int,
    rollout_batch_size: int,
    optimizer: str,
    encodings_gib: float,
    prompt_tokens: int | None,
    shards: int,
    judge_gib: float,
) -> Plan:
    """The plan of a policy whose arguments are these (as in `PipelinePolicy`).

    minibatch_size: candidates in one backward pass. rollout_batch_size: candidates in one pipeline call (`policy.batch_size`).
    optimizer: "adamw" or "adamw8bit". encodings_gib: GiB that `policy.encodings` keeps on the GPU at most. prompt_tokens:
    length of the prompts; None takes the longest that the call allows. shards: as in `Plan`. judge_gib: GiB of a local judge.

    Raises:
        UserError: the architecture is not known, or the arguments do not fit it.
    """
    if min(minibatch_size, rollout_batch_size) < 1:
        raise UserError(f"minibatch_size={minibatch_size}, rollout_batch_size={rollout_batch_size}: both must be at least 1")
    architecture = read_architecture(checkpoint)
    pipe = skeleton(architecture, policy_dtype(dtype))
    modules = _modules(pipe)
    parts = _components(modules, load, release_text_encoders, shards)
    gathered = whole_at_once(pipe.transformer) if shards > 1 else 0
    added = LiveBytes(modules.values())
    with added:
        adapter.attach(pipe)
        trained = list(adapter.parameters().values())
    if _bits(load.get("quantization_config") or {}, "transformer"):
        computed_by_peft(pipe.transformer)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)  # a step of several minibatches adds to gradients that are there
    arguments = functools.partial(call_arguments, pipe, call, prompt_tokens)
    calls = [min(rollout_batch_size, minibatch_size - first) for first in range(0, minibatch_size, rollout_batch_size)]
    working_training, working_checkpointed = _training_bytes(pipe, [functools.partial(arguments, n) for n in calls])
    count = sum(p.numel() for p in trained)
    return Plan(
        source=architecture.source,
        pipeline=architecture.pipeline,
        parts=parts,
        trainable=count,
        frozen=sum(p.numel() for module in modules.values() for p in module.parameters()) - count,
        adapter=added.now,
        gradients=_bytes(trained),
        optimizer=optimizer_bytes(optimizer, trained),
        encodings=int(encodings_gib * GIB),
        working_training=working_training,
        working_checkpointed=working_checkpointed,
        working_update=_bytes(trained) if optimizer == "adamw" else 0,  # torch takes the root of all second moments at once
        working_rollout=working_bytes(pipe, lambda: _probe(pipe, pipe, "pt", arguments(rollout_batch_size))),
        shards=shards,
        gathered=gathered,
        judge=int(judge_gib * GIB),
    )


def _components(
    modules: Mapping[str, nn.Module], load: Mapping[str, Any], release_text_encoders: bool, shards: int
) -> tuple[Component, ...]:
    quantization = load.get("quantization_config") or {}
    bits = {name: _bits(quantization, name) for name in modules}
    double = (quantization.get("quant_kwargs") or {}).get("bnb_4bit_use_double_quant", False)
    if shards > 1 and any(bits.values()):
        raise UserError("trainer=fsdp2: quantized weights cannot be sharded; take trainer=ddp or policy/load=plain")
    return tuple(
        component(name, module, bits[name], double, resident=not (release_text_encoders and name.startswith("text_encoder")))
        for name, module in sorted(modules.items())
    )


def _training_bytes(pipe: Any, calls: Sequence[Callable[[], dict[str, Any]]]) -> tuple[int, int]:
    """What a backward pass over the candidates of some calls needs, without and with gradient checkpointing, which it leaves
    on."""
    plain = working_bytes(pipe, lambda: training_step(pipe, calls))
    pipe.transformer.enable_gradient_checkpointing()
    return plain, working_bytes(pipe, lambda: training_step(pipe, calls))


def whole_at_once(transformer: Any) -> int:
    """Bytes of a sharded model's weights that are whole on a GPU at once: those outside the blocks, and of the blocks the one
    that computes and the next one, which is already put together (twice the largest)."""
    each = [_bytes(block.parameters()) for block in blocks(transformer)]
    return _bytes(transformer.parameters()) - sum(each) + 2 * max(each, default=0)


def component(name: str, module: nn.Module, bits: int | None, double: bool = False, resident: bool = True) -> Component:
    """What a component weighs; bits: 4 or 8 if bitsandbytes quantizes its linear layers (all but the output layer)."""
    saved = module.state_dict().keys()
    tensors = [*module.parameters(), *(buffer for key, buffer in module.named_buffers() if key in saved)]
    size, kind = _bytes(tensors), str(next(module.parameters()).dtype).removeprefix("torch.")
    if bits:
        linear = [m.weight for key, m in module.named_modules() if isinstance(m, nn.Linear) and not key.endswith("lm_head")]
        size += sum(quantized_bytes(weight, bits, double) for weight in linear) - _bytes(linear)
        kind = f"{bits} bit"
    return Component(name, type(module).__name__, sum(p.numel() for p in module.parameters()), kind, size, resident)


def quantized_bytes(weight: Tensor, bits: int, double: bool) -> int:
    """As bitsandbytes stores it: 4 bits a weight and a scale for each 64 (itself in 8 bits, if `double`); or 8 bits and a scale
    a row."""
    n = weight.numel()
    if bits == 8:
        return n + 4 * weight.shape[0]
    scales = -(-n // 64)
    return -(-n // 2) + (scales + 4 * -(-scales // 256) if double else 4 * scales)


def optimizer_bytes(name: str, trained: Iterable[Tensor]) -> int:
    """Two moments a parameter: in its own dtype; or in 8 bits with a scale for each 256 (small tensors stay in 32)."""
    if name == "adamw":
        return 2 * _bytes(trained)
    if name == "adamw8bit":
        return sum(2 * (n + 4 * -(-n // 256)) if n >= 4096 else 8 * n for n in (p.numel() for p in trained))
    raise UserError(f"optimizer={name}: known are adamw and adamw8bit")


def working_bytes(pipe: Any, step: Callable[[], object]) -> int:
    """Most bytes that `step` has in use at once, beyond the pipeline's weights and their gradients.

    Raises:
        UserError: the pipeline computes with values, which meta tensors do not have, or does not take the arguments.
    """
    try:
        live = LiveBytes(_modules(pipe).values())
        with live, gpu_kernels():
            step()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{type(pipe).__name__} cannot be run without data, or not with policy.call ({type(error).__name__}: {error})"
        ) from error
    return live.peak


def training_step(pipe: Any, calls: Iterable[Callable[[], dict[str, Any]]]) -> None:
    """The pipeline's first step with gradients, for the candidates of each of the calls, and one backward pass over all."""
    call: Any = type(pipe).__call__
    undecorated = functools.partial(call.__wrapped__, pipe)  # without its no_grad
    velocities = [_probe(pipe, undecorated, "latent", arguments()).float() for arguments in calls]
    torch.autograd.backward(torch.cat(velocities).sum())


def _probe(pipe: Any, call: Callable[..., Any], output_type: str, arguments: Mapping[str, Any]) -> Tensor:
    pipe.scheduler.mode = probe = Probe(0)
    call(num_inference_steps=2, return_dict=False, output_type=output_type, **arguments)
    assert probe.velocity is not None
    return probe.velocity


def _modules(pipe: Any) -> dict[str, nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


def _bits(quantization: Mapping[str, Any] | None, name: str) -> int | None:
    """4 or 8, if a diffusers `PipelineQuantizationConfig` with these arguments quantizes component `name`."""
    if not quantization:
        return None
    some, backend = quantization.get("components_to_quantize"), quantization.get("quant_backend")
    if backend not in ("bitsandbytes_4bit", "bitsandbytes_8bit"):
        raise UserError(f"policy.load.quantization_config: quant_backend={backend} is not known to the plan, only bitsandbytes")
    if some is not None and name not in ([some] if isinstance(some, str) else some):
        return None
    return 4 if backend == "bitsandbytes_4bit" else 8


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
