"""The memory plan against the loaded pipelines, what a CPU allocates for them, and the published sizes of the real models."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path

import bitsandbytes
import pytest
import torch
from bitsandbytes.functional import int8_vectorwise_quant, quantize_4bit
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image
from torch import nn
from torch.profiler import ProfilerActivity, profile

from arr_rpo.commands.plan import plan, text
from arr_rpo.noise import Noise
from arr_rpo.policy.adapter import Full
from arr_rpo.policy.live_bytes import META, LiveBytes
from arr_rpo.policy.loading import load_pipeline
from arr_rpo.policy.memory_plan import GIB, Plan, component, optimizer_bytes, quantized_bytes
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.policy.skeleton import ARCHITECTURES, read_architecture, skeleton
from arr_rpo.types import Prompt, UserError
from arr_rpo.whole_files import write_json
from tests.conftest import make_sampler
from tests.policy.twins import bria, flux, flux2, lumina2, qwen, qwen_image_edit, sd3, z_image

TWINS = flux.TWINS | sd3.TWINS | qwen.TWINS | z_image.TWINS | flux2.TWINS
OTHERS = TWINS | qwen_image_edit.TWINS | bria.TWINS | lumina2.TWINS


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., DictConfig]:
    """The command's config for the embedded policy or a twin, in float32 if nothing else is said."""
    folders: dict[str, Path] = {}

    def composed(name: str, *overrides: str) -> DictConfig:
        own: list[str] = []
        if name in OTHERS:
            if name not in folders:
                folders[name] = tmp_path_factory.mktemp(name)
                OTHERS[name].build(folders[name])
            own = [f"policy.checkpoint={folders[name]}", *OTHERS[name].overrides]
        with initialize_config_module("arr_rpo.configs", version_base="1.3"):
            return compose("plan", overrides=[f"policy={name}", "policy.dtype=float32", *own, *overrides])

    return composed


def real_policy(config: DictConfig) -> PipelinePolicy:
    return instantiate(config.policy, sampler=make_sampler())


def allocated_peak(run: Callable[[], object]) -> int:
    """Most bytes that `run` has allocated at once on the CPU, as torch's profiler saw the allocator."""
    gc.collect()  # what a former step left is not to be freed in the middle of this one, and counted for it
    gc.disable()
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
            run()
    finally:
        gc.enable()
    events = [event for event in measured.profiler.kineto_results.events() if event.name() == "[memory]"]  # type: ignore[union-attr]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.fixture(scope="module")
def of_shapes(config: Callable[..., DictConfig]) -> Plan:
    return plan(config("shapes"))


@pytest.mark.parametrize("name", ["shapes", *sorted(set(TWINS) - {"qwen_image_edit_plus"})])
def test_components_have_the_parameters_and_bytes_of_the_loaded_pipeline(name: str, config: Callable[..., DictConfig]) -> None:
    checkpoint = config(name).policy.checkpoint
    pipe = load_pipeline(checkpoint, torch.bfloat16, {})
    without_weights = skeleton(read_architecture(checkpoint), torch.bfloat16).components
    for key, module in pipe.components.items():
        if isinstance(module, nn.Module):
            stored = {t.data_ptr(): t.nbytes for t in module.state_dict().values()}  # weights that are tied count once
            part = component(key, without_weights[key], bits=None)
            assert part.parameters == sum(p.numel() for p in module.parameters()), key
            assert part.bytes == sum(stored.values()), key
            assert part.dtype == "bfloat16"


@pytest.mark.parametrize("batch", [2, 8])
@pytest.mark.parametrize("name", ["shapes", "flux1_kontext_dev", "sd35_medium", "flux2_klein"])
def test_a_training_step_takes_what_a_cpu_allocates(name: str, batch: int, config: Callable[..., DictConfig]) -> None:
    composed = config(name, f"minibatch_size={batch}")
    planned = plan(composed)
    policy = real_policy(composed)
    source = Image.new("RGB", (32, 32)) if name in TWINS and TWINS[name].source else None
    prompts = [Prompt("p", "a red circle", source=source)]
    rollout = policy.rollout(prompts, batch, Noise(0, 0))  # prompts are encoded here, not below
    trained = policy.adapter.parameters().values()
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)

    def step() -> None:
        policy.velocity(rollout, torch.arange(batch), rollout.latents_BTD[:, 0], 0).sum().backward()

    assert planned.working_training == pytest.approx(allocated_peak(step), rel=0.1)
    policy.transformer.enable_gradient_checkpointing()
    assert planned.working_checkpointed == pytest.approx(allocated_peak(step), rel=0.1)
    assert planned.working_checkpointed < planned.working_training
    assert planned.trainable == sum(p.numel() for p in trained)
    assert planned.adapter == planned.gradients == sum(p.nbytes for p in trained)


def test_a_rollout_takes_what_a_cpu_allocates(config: Callable[..., DictConfig]) -> None:
    composed = config("shapes", "rollout_batch_size=16")
    policy = real_policy(composed)
    prompts = [Prompt("p", "a red circle")]
    policy.rollout(prompts, 1, Noise(0, 0))

    real = allocated_peak(lambda: policy.called(prompts * 16, "pt"))
    assert plan(composed).working_rollout == pytest.approx(real, rel=0.1)


def test_minibatches_above_the_batch_size_are_several_calls_of_one_graph(config: Callable[..., DictConfig]) -> None:
    at_once, in_three = (plan(config("flux1_dev", "minibatch_size=8", f"rollout_batch_size={n}")) for n in (8, 3))
    assert in_three.working_training == pytest.approx(
        at_once.working_training, rel=0.15
    )  # the last call has only two candidates
    assert in_three.working_rollout < at_once.working_rollout / 2


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("flux1_dev", {"transformer": 11.90, "text_encoder": 0.123, "text_encoder_2": 4.76, "vae": 0.084}),
        ("flux1_kontext_dev", {"transformer": 11.90}),
        ("sd35_large", {"transformer": 8.06, "text_encoder_2": 0.695, "text_encoder_3": 4.76}),
        ("sd35_medium", {"transformer": 2.24}),  # and 0.23 of position embeddings, not trained
        ("qwen_image", {"transformer": 20.43, "text_encoder": 8.29, "vae": 0.127}),
        ("qwen_image_edit_plus", {"transformer": 20.43}),
        ("z_image", {"transformer": 6.15, "text_encoder": 4.02}),
        ("flux2_klein", {"transformer": 3.88, "text_encoder": 4.02}),
    ],
)
def test_described_architectures_have_the_published_sizes(name: str, billions: dict[str, float]) -> None:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        checkpoint = compose("plan", overrides=[f"policy={name}"]).policy.checkpoint
    assert checkpoint in json.loads((ARCHITECTURES / f"{name}.json").read_text())["checkpoints"]
    pipe = skeleton(read_architecture(checkpoint), torch.bfloat16)
    for part, size in billions.items():
        assert sum(p.numel() for p in getattr(pipe, part).parameters()) / 1e9 == pytest.approx(size, rel=0.003), part
    if name == "sd35_medium":
        assert component("transformer", pipe.transformer, bits=None).bytes == 2 * (2_243_171_520 + 384 * 384 * 1536)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_weights_are_trained_beside_the_first(dtype: str, config: Callable[..., DictConfig]) -> None:
    composed = config("shapes", "policy/adapter=full", f"policy.dtype={dtype}")
    planned, policy = plan(composed), real_policy(composed)
    transformer = next(part for part in planned.parts if part.name == "transformer")
    trained = list(policy.adapter.parameters().values())
    assert isinstance(policy.adapter, Full)
    assert planned.trainable == transformer.parameters == sum(p.numel() for p in trained)
    first = sum(p.nbytes for p in policy.adapter._first.values())
    assert planned.adapter + transformer.bytes == sum(p.nbytes for p in trained) + first
    assert planned.gradients == sum(p.nbytes for p in trained) == 4 * planned.trainable
    assert planned.optimizer == 2 * planned.gradients
    assert planned.frozen == sum(part.parameters for part in planned.parts) - transformer.parameters


def test_a_step_of_full_training_in_bfloat16_takes_what_a_cpu_allocates(config: Callable[..., DictConfig]) -> None:
    """Among it the weights cast for the pass, 2 bytes each."""
    composed = config("shapes", "policy/adapter=full", "policy.dtype=bfloat16", "minibatch_size=2")
    planned, policy = plan(composed), real_policy(composed)
    rollout = policy.rollout([Prompt("p", "a red circle")], 2, Noise(0, 0))
    for parameter in policy.adapter.parameters().values():
        parameter.grad = torch.zeros_like(parameter)

    def step() -> None:
        policy.velocity(rollout, torch.arange(2), rollout.latents_BTD[:, 0], 0).sum().backward()

    assert planned.working_training > 2 * planned.trainable
    assert planned.working_training == pytest.approx(allocated_peak(step), rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_optimizer_state_is_that_of_a_real_step(dtype: torch.dtype) -> None:
    for name, make in (("adamw", torch.optim.AdamW), ("adamw8bit", bitsandbytes.optim.AdamW8bit)):
        trained = [nn.Parameter(torch.randn(64, 100, dtype=dtype)), nn.Parameter(torch.randn(33, dtype=dtype))]
        optimizer = make(trained)
        for parameter in trained:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        state = [
            v
            for values in optimizer.state.values()
            for k, v in values.items()
            if "qmap" not in k and isinstance(v, torch.Tensor)
        ]
        assert optimizer_bytes(name, trained) == sum(v.nbytes for v in state if v.numel() > 1), name
    with pytest.raises(UserError, match="optimizer=sgd"):
        optimizer_bytes("sgd", [])


def test_quantized_weights_take_what_bitsandbytes_makes_of_them() -> None:
    weight = torch.randn(512, 320)
    for double in (False, True):
        packed, state = quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=double)
        scales = state.absmax.nbytes + (state.state2.absmax.nbytes if double else 0)
        assert quantized_bytes(weight, 4, double) == packed.nbytes + scales
    packed, scale, _ = int8_vectorwise_quant(weight.half())
    assert quantized_bytes(weight, 8, double=False) == packed.nbytes + scale.nbytes


def test_only_the_linear_layers_of_named_components_are_quantized(of_shapes: Plan, config: Callable[..., DictConfig]) -> None:
    quantization = "+policy.load.quantization_config={quant_backend:bitsandbytes_4bit,components_to_quantize:[text_encoder_2]}"
    after = plan(config("shapes", quantization))
    sizes = {a.name: (a.bytes, b.bytes, b.dtype) for a, b in zip(of_shapes.parts, after.parts, strict=True)}
    linear = 3 * (4 * 96 * 96 + 3 * 96 * 256)  # of each of 3 blocks: query, key, value, output; gated feed-forward
    full, quantized, dtype = sizes.pop("text_encoder_2")
    assert (full - quantized, dtype) == (linear * 4 - linear // 2 - linear // 64 * 4, "4 bit")
    assert all(a == b for a, b, _ in sizes.values())
    with pytest.raises(UserError, match="quant_backend=torchao"):
        plan(config("shapes", "+policy.load.quantization_config={quant_backend:torchao}"))


def test_released_text_encoders_do_not_count(of_shapes: Plan, config: Callable[..., DictConfig]) -> None:
    go = plan(config("shapes", "policy.release_text_encoders=true"))
    encoders = sum(part.bytes for part in of_shapes.parts if part.name.startswith("text_encoder"))
    assert of_shapes.resident - go.resident == encoders > 0
    assert go.peaks()["start"] == of_shapes.peaks()["start"] == go.resident + encoders - go.gradients - go.optimizer
    assert [part.name for part in go.parts if not part.resident] == ["text_encoder", "text_encoder_2"]


def test_eight_processes_have_a_shard_of_the_frozen_weights_each_and_two_blocks_whole(
    of_shapes: Plan, config: Callable[..., DictConfig]
) -> None:
    sharded = plan(config("shapes", "trainer=fsdp2", "trainer.devices=4", "trainer.num_nodes=2"))
    transformer = skeleton(read_architecture("shapes"), torch.float32).transformer
    every = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    sizes = [4 * sum(p.numel() for p in block.parameters()) for block in every]
    total = 4 * sum(p.numel() for p in transformer.parameters())
    assert sharded.gathered == total - sum(sizes) + 2 * max(sizes)
    assert of_shapes.resident - sharded.resident == total - total // 8 - sharded.gathered
    assert plan(config("shapes", "trainer=ddp", "trainer.devices=8")) == of_shapes  # each has all of it
    with pytest.raises(UserError, match="quantized weights cannot be sharded"):
        plan(config("shapes", "trainer=fsdp2", "trainer.devices=2", "policy/load=int8"))


def test_in_full_training_all_that_is_trained_is_sharded(config: Callable[..., DictConfig]) -> None:
    one, sharded = (
        plan(config("shapes", "policy/adapter=full", *more)) for more in ((), ("trainer=fsdp2", "trainer.devices=2"))
    )
    assert sharded.training_state == (one.adapter + one.gradients + one.optimizer) // 2
    assert "of 2" in text(sharded, config("shapes", "policy/adapter=full", "trainer=fsdp2", "trainer.devices=2"))


def test_a_local_judge_counts(of_shapes: Plan, config: Callable[..., DictConfig]) -> None:
    assert plan(config("shapes", "judge_gib=2")).resident - of_shapes.resident == 2 * GIB


def test_the_encodings_that_are_kept_count(of_shapes: Plan, config: Callable[..., DictConfig]) -> None:
    less = plan(config("shapes", "policy.encodings.device_gib=0.25"))
    assert of_shapes.encodings == GIB
    for name, peak in of_shapes.peaks().items():
        assert peak - less.peaks()[name] == 0.75 * GIB


def test_live_bytes_by_hand() -> None:
    layer = nn.Linear(100, 50, bias=False, device=META).requires_grad_(False)
    with LiveBytes([layer]) as live:
        x = torch.empty(10, 100, device=META)  # 4000 bytes
        y = layer(x)  # 2000
        z = y.view(500)  # none: a view
        assert live.now == 6000
        del x, y
        assert live.now == 2000
        del z
    assert (live.now, live.peak) == (0, 6000)


def test_cards_follow_the_peaks() -> None:
    def cards(training: float, checkpointed: float, rollout: float) -> list[str]:
        sizes = (int(gib * GIB) for gib in (training, checkpointed))
        return list(Plan("", "", (), 0, 0, 0, 0, 0, 0, *sizes, 0, int(rollout * GIB), 1, 0, 0).cards().values())

    assert cards(20, 10, 10) == ["yes"] * 5
    assert cards(78, 30, 10) == ["no", *["with gradient checkpointing"] * 3, "yes"]  # 78 + 1.5 in reserve > 79.1
    assert cards(10, 5, 60) == ["no", "no", "no", "yes", "yes"]
    assert cards(300, 200, 10) == ["no"] * 5


def test_unknown_checkpoints_and_pipelines_are_the_users_to_mend(tmp_path: Path, config: Callable[..., DictConfig]) -> None:
    with pytest.raises(UserError, match=r'some/model.*hf download some/model --include "\*.json"'):
        read_architecture("some/model")
    write_json(
        tmp_path / "model_index.json", {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    )
    with pytest.raises(UserError, match="no pipeline that can be built"):
        skeleton(read_architecture(str(tmp_path)), torch.float32)
    with pytest.raises(UserError, match=r"policy\.dtype=float16 .* take bfloat16"):
        plan(config("shapes", "policy.dtype=float16"))
    with pytest.raises(UserError, match="minibatch_size=0"):
        plan(config("shapes", "minibatch_size=0"))


def test_the_text_ends_with_the_cards(of_shapes: Plan, config: Callable[..., DictConfig]) -> None:
    lines = text(of_shapes, config("shapes")).splitlines()
    assert lines[0].startswith("shapes: FluxPipeline from") and lines[0].endswith("32x32")
    assert [line.split()[0] for line in lines[2:6]] == ["text_encoder", "text_encoder_2", "transformer", "vae"]
    assert lines[-2] == "fits, with 1.5 GiB to spare?  24 GB: yes; 40 GB: yes; 48 GB: yes; 80 GB: yes; 141 GB: yes"
    assert lines[-1].startswith("A local judge comes on top")


@pytest.mark.parametrize("name", ["bria", "qwen_image_edit"])
def test_others_whose_embeddings_are_described(name: str, config: Callable[..., DictConfig]) -> None:
    made = plan(config(name))
    assert min(made.working_training, made.working_checkpointed, made.working_rollout) > 0


def test_one_whose_embeddings_are_not(config: Callable[..., DictConfig]) -> None:
    with pytest.raises(UserError, match=r"Lumina2Pipeline cannot be planned.*docs/models.md says which"):
        plan(config("lumina2"))


def test_quantized_layers_are_planned_as_peft_computes_them(config: Callable[..., DictConfig]) -> None:
    """In float32, and each input by itself."""
    plain, quantized = (plan(config("flux1_dev", "policy.dtype=bfloat16", *more)) for more in ((), ("policy/load=nf4",)))
    assert quantized.working_training > plain.working_training
