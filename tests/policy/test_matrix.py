"""The model matrix: the YAML of each model drives a tiny twin of its class through everything that training does."""

from __future__ import annotations

import contextlib
import copy
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from hydra.utils import instantiate
from peft import PeftModel
from PIL import Image

from arr_rpo.algorithm.base import Microbatch
from arr_rpo.algorithm.policy_gradient import PolicyGradient
from arr_rpo.export.formats import ComfyUI, Diffusers, Merged, Peft
from arr_rpo.formulas.losses import log_ratio, plain_weight
from arr_rpo.noise import Noise, Purpose, generator
from arr_rpo.policy.parity import replay_floor
from arr_rpo.policy.pictures_only import pictures_only
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.policy.short_way import ShortWay
from arr_rpo.types import Advantages, Prompt, Rollout
from tests.conftest import assert_same_picture, configure
from tests.policy import twins
from tests.policy.twins.base import Twin

pytestmark = pytest.mark.slow

MATRIX: dict[str, Twin] = {}
for found in pkgutil.iter_modules(twins.__path__):
    MATRIX |= getattr(importlib.import_module(f"tests.policy.twins.{found.name}"), "TWINS", {})

# The others guide without distillation, turn the sign, or give their transformer more than numbers by the step.
SHORT = {"flux1_dev", "flux1_kontext_dev", "flux2_dev"}
CONFIGS = Path(__file__).parents[2] / "configs" / "policy"


def test_every_policy_has_a_twin() -> None:
    models = {path.stem for path in CONFIGS.glob("*.yaml")} - {"pipeline", "shapes", "shapes_edit"}
    assert models == set(MATRIX)


@pytest.fixture(scope="module", params=sorted(MATRIX))
def model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def folder(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(model)
    MATRIX[model].build(path)
    return path


@pytest.fixture(scope="module")
def patched(model: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for target, value in MATRIX[model].patches.items():
            patch.setattr(target, value)
        yield


@pytest.fixture(scope="module")
def policy(model: str, folder: Path, patched: None) -> PipelinePolicy:
    return make(model, folder)


def make(model: str, folder: Path, *more: str) -> PipelinePolicy:
    overrides = [f"policy={model}", f"policy.checkpoint={folder}", "policy.dtype=float32", "policy.num_inference_steps=4"]
    config = configure(["experiment=t2i_rpo", "run_dir=x", *overrides, *MATRIX[model].overrides, *more])
    policy: PipelinePolicy = instantiate(config.policy)
    return policy


@pytest.fixture(scope="module")
def prompts(model: str) -> tuple[Prompt, ...]:
    texts = ("a red circle", "two blue stars left of a cat")
    colours = ("red", "teal")
    return tuple(
        Prompt(text[:5], text, source=Image.new("RGB", (32, 32), colour) if MATRIX[model].source else None)
        for text, colour in zip(texts, colours, strict=True)
    )


@pytest.fixture(scope="module")
def rollout(policy: PipelinePolicy, prompts: tuple[Prompt, ...]) -> Rollout:
    return policy.rollout(prompts, 2, Noise(1, 0))


def disturbed(policy: PipelinePolicy) -> None:
    """A LoRA starts as zero: fill it, so that all of it matters."""
    seeded = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.normal_(0, 0.1, generator=seeded)


def test_replay_is_exact(policy: PipelinePolicy, rollout: Rollout) -> None:
    assert rollout.step_indices == (0, 1, 2)
    assert replay_floor(policy, rollout) <= 2e-6
    rows = torch.tensor([3, 0])
    with torch.no_grad():
        mean = policy.replay(rollout, rows, 1).mean
    torch.testing.assert_close(mean, rollout.means_BTD[rows, 1], atol=1e-5, rtol=1e-5)


def test_replay_is_exact_in_half_precision(model: str, folder: Path, patched: None, prompts: tuple[Prompt, ...]) -> None:
    """Also with gradient checkpointing, and a backward pass through it."""
    policy = make(model, folder, "policy.dtype=bfloat16", "policy.gradient_checkpointing=true")
    assert {p.dtype for p in policy.adapter.parameters().values()} == {torch.float32}
    rollout = policy.rollout(prompts, 1, Noise(1, 0))
    assert replay_floor(policy, rollout) <= 1e-3
    policy.replay(rollout, torch.arange(2), 1).log_probs_B.sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in policy.adapter.parameters().values())


def test_further_steps_take_the_short_way_or_say_why_not(
    model: str, folder: Path, patched: None, prompts: tuple[Prompt, ...]
) -> None:
    """With gradients as they are with the whole pipeline, to the bit."""
    for dtype in ("float32", "bfloat16") if model in SHORT else ("float32",):
        policy = make(model, folder, f"policy.dtype={dtype}")
        disturbed(policy)
        rollout = policy.rollout(prompts, 1, Noise(1, 0))
        policy.find_short_way(rollout)
        assert isinstance(policy.short_way, ShortWay) == (model in SHORT)
        rows, found = torch.tensor([1, 0]), []
        for kept in (contextlib.nullcontext(), policy.conditioning_kept()):
            policy.transformer.zero_grad()
            with kept:
                velocities = [policy.velocity(rollout, rows, rollout.latents_BTD[rows, 1], index) for index in (1, 2, 0)]
            sum((v * k).sum() for k, v in enumerate(velocities)).backward()
            grads = [p.grad.clone() for p in policy.adapter.parameters().values() if p.grad is not None]
            found.append([v.detach() for v in velocities] + grads)
        assert len(found[0]) > 3
        for whole, short in zip(*found, strict=True):
            assert torch.equal(whole, short)


def test_gradient_checkpointing_changes_nothing(model: str, folder: Path, patched: None, prompts: tuple[Prompt, ...]) -> None:
    """Neither the step that is gone through again nor its gradient, to what float32 can tell."""
    gradients = []
    for checkpointing in ("false", "true"):
        policy = make(model, folder, "policy.dtype=float32", f"policy.gradient_checkpointing={checkpointing}")
        disturbed(policy)
        rollout = policy.rollout(prompts, 1, Noise(1, 0))
        assert replay_floor(policy, rollout) <= 2e-6
        policy.replay(rollout, torch.arange(2), 1).log_probs_B.sum().backward()
        gradients.append([p.grad for p in policy.adapter.parameters().values() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(one.abs().max() + 1e-12), rtol=1e-4)


def test_candidates_differ_by_prompt_and_noise(rollout: Rollout) -> None:
    a, b, c, _ = (np.asarray(image.convert("RGB")) for image in rollout.images)
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert a.std() > 0


def test_one_update_moves_the_adapter_and_nothing_else(policy: PipelinePolicy, rollout: Rollout) -> None:
    frozen = {
        f"{name}.{key}": value.clone()
        for name, part in policy.pipe.components.items()
        if isinstance(part, torch.nn.Module)
        for key, value in part.state_dict().items()
        if "lora_" not in key
    }
    before = {name: p.detach().clone() for name, p in policy.adapter.parameters().items()}
    disturbed(policy)
    start = {name: p.detach().clone() for name, p in policy.adapter.parameters().items()}
    optimizer = torch.optim.AdamW(policy.adapter.parameters().values(), lr=1e-3)
    objective = PolicyGradient(log_ratio=log_ratio, weight=plain_weight, clip_range=0.2, kl_coefficient=0.1)
    advantages = Advantages(torch.tensor([1.0, -1.0, -1.0, 1.0]), torch.ones(4, dtype=torch.bool))
    units = objective.units(advantages, 2)
    batch = Microbatch(rollout, units, 1, 0, advantages, {}, Noise(0, 0), False, 1.0)
    with torch.no_grad():
        fresh = policy.rollout(rollout.prompts, 2, Noise(2, 0))
    loss, log = objective.loss(policy, batch._replace(rollout=fresh))
    loss.backward()
    without = [name for name, p in policy.adapter.parameters().items() if p.grad is None or not p.grad.abs().max() > 0]
    assert not without
    assert float(log["policy/kl"]) > 0
    assert all(p.grad is None for name, p in policy.named_parameters() if "lora_" not in name)
    optimizer.step()
    moved = [name for name, p in policy.adapter.parameters().items() if not torch.equal(p, start[name])]
    assert len(moved) == len(start)
    for name, part in policy.pipe.components.items():
        if isinstance(part, torch.nn.Module):
            for key, value in part.state_dict().items():
                assert "lora_" in key or torch.equal(value, frozen[f"{name}.{key}"]), f"{name}.{key}"
    with torch.no_grad():
        for name, p in policy.adapter.parameters().items():
            p.copy_(before[name])
    policy.zero_grad()


def stock_pipeline(model: str, folder: Path) -> DiffusionPipeline:
    """As a user would load it, mended by what the YAML mends."""
    config = configure(["experiment=t2i_rpo", "run_dir=x", f"policy={model}", f"policy.checkpoint={folder}"]).policy
    with pictures_only():
        stock = DiffusionPipeline.from_pretrained(folder, local_files_only=True, **instantiate(config.load))
    for mend in instantiate(config.after_load):
        mend(stock)
    return stock


def stock_pictures(policy: PipelinePolicy, stock: DiffusionPipeline, prompts: tuple[Prompt, ...]) -> list[np.ndarray]:
    """What the stock pipeline draws with the same call arguments and noise, a prompt a call."""
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = FlowMatchEulerDiscreteScheduler.from_config(policy.scheduler.config)  # the YAML's shift
    pictures = []
    for prompt in prompts:
        arguments = copy.deepcopy(policy.called.arguments)
        if prompt.source is not None:
            arguments["image"] = prompt.source
        noise = generator(Purpose.HELDOUT, 5, prompt.id)
        out = stock(prompt=prompt.text, num_inference_steps=4, generator=noise, return_dict=False, **arguments)
        pictures.append(np.asarray(out[0][0]))
    return pictures


def own_pictures(policy: PipelinePolicy, prompts: tuple[Prompt, ...]) -> list[np.ndarray]:
    policy.batch_size = 1
    return [np.asarray(image) for image in policy.generate(prompts, seed=5)]


def test_without_noise_it_is_the_stock_pipeline(
    model: str, policy: PipelinePolicy, folder: Path, prompts: tuple[Prompt, ...]
) -> None:
    stock = stock_pipeline(model, folder)
    for ours, theirs in zip(own_pictures(policy, prompts), stock_pictures(policy, stock, prompts), strict=True):
        assert_same_picture(ours, theirs)


def change_of(transformer: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What the LoRA that is loaded adds to each weight."""
    found = {}
    for name, layer in transformer.named_modules():
        if getattr(layer, "lora_A", None):
            [adapter] = layer.lora_A
            product = layer.lora_B[adapter].weight @ layer.lora_A[adapter].weight
            found[name.removeprefix("base_model.model.")] = layer.scaling[adapter] * product
    return found


def test_every_export_makes_the_same_change(
    model: str, folder: Path, patched: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = make(model, folder)
    disturbed(policy)
    policy.adapter.save(tmp_path / "lora")
    expected = change_of(policy.transformer)
    kinds = (ComfyUI(), Peft(), Merged(), diffusers := Diffusers())
    for kind in kinds:
        (tmp_path / kind.name).mkdir()
        kind.write(tmp_path / "lora", {"checkpoint": str(folder), "dtype": "float32"}, tmp_path / kind.name)
    stock = stock_pipeline(model, folder)
    before = {key: value.clone() for key, value in stock.transformer.state_dict().items()}
    after = stock_pipeline(model, tmp_path / "merged").transformer.state_dict()
    same({name: after[f"{name}.weight"] - before[f"{name}.weight"] for name in expected}, expected)
    if hasattr(stock, "load_lora_weights"):
        stock.load_lora_weights(tmp_path / "comfyui", weight_name=ComfyUI.file)
        same(change_of(stock.transformer), expected)
        stock.unload_lora_weights()
    monkeypatch.chdir(tmp_path / "diffusers")
    exec(diffusers.usage.splitlines()[-2], {"pipe": stock})  # as the card says
    same(change_of(stock.transformer), expected)
    stock.transformer.unload_lora()
    same(change_of(PeftModel.from_pretrained(stock.transformer, tmp_path / "peft")), expected)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert set(one) == set(other)
    for name, change in other.items():
        torch.testing.assert_close(one[name], change, atol=1e-5, rtol=1e-4)


def test_what_is_saved_loads_into_the_stock_pipeline(
    model: str, folder: Path, patched: None, prompts: tuple[Prompt, ...], tmp_path: Path
) -> None:
    policy = make(model, folder)
    base = own_pictures(policy, prompts)
    disturbed(policy)
    policy.adapter.save(tmp_path)
    stock = stock_pipeline(model, folder)
    if hasattr(stock, "load_lora_weights"):
        stock.load_lora_weights(tmp_path)
    else:
        stock.transformer.load_lora_adapter(tmp_path, prefix=None, use_safetensors=True)
    ours = own_pictures(policy, prompts)
    assert not all(np.array_equal(a, b) for a, b in zip(ours, base, strict=True))
    for own, theirs in zip(ours, stock_pictures(policy, stock, prompts), strict=True):
        assert_same_picture(own, theirs)
    again = make(model, folder)
    again.load_trained(tmp_path)
    for own, reloaded in zip(ours, own_pictures(again, prompts), strict=True):
        assert_same_picture(own, reloaded)
