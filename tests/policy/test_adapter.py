"""Full training in bfloat16: small steps count, and what is drawn, replayed and saved is in bfloat16."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from safetensors.torch import load_file

from arr_rpo.noise import Noise, Purpose, generator
from arr_rpo.policy.adapter import Full
from arr_rpo.policy.parity import LIMIT, replay_floor
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Prompt, Rollout, UserError
from tests.conftest import make_policy, small_lora

PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))


def full(dtype: str = "bfloat16", **changes: object) -> PipelinePolicy:
    return make_policy(adapter=Full(), dtype=dtype, **changes)


def drawn(policy: PipelinePolicy) -> list[np.ndarray]:
    return [np.asarray(image) for image in policy.generate(PROMPTS, seed=5)]


def gradients(policy: PipelinePolicy, rollout: Rollout) -> dict[str, torch.Tensor]:
    policy.replay(rollout, torch.arange(4), 1).log_probs_B.sum().backward()
    return {name: p.grad for name, p in policy.adapter.parameters().items() if p.grad is not None}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_starts_as_the_base_to_the_bit(dtype: str) -> None:
    base = make_policy(dtype=dtype).rollout(PROMPTS, 2, Noise(1, 0))  # a LoRA starts as zero
    policy = full(dtype)
    rollout = policy.rollout(PROMPTS, 2, Noise(1, 0))
    assert rollout.latents_BTD.dtype == getattr(torch, dtype)
    assert torch.equal(rollout.latents_BTD, base.latents_BTD)
    assert {p.dtype for p in policy.adapter.parameters().values()} == {torch.float32}
    assert policy.pipe.transformer.dtype == getattr(torch, dtype)


def test_in_float32_nothing_comes_between() -> None:
    assert "forward" not in vars(full("float32").transformer)
    assert "forward" in vars(full("bfloat16").transformer)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_replay_is_exact_also_after_steps_that_bfloat16_would_lose(checkpointing: bool) -> None:
    policy = full(gradient_checkpointing=checkpointing)
    parameters = policy.adapter.parameters()
    before = {name: p.detach().clone() for name, p in parameters.items()}
    with torch.no_grad():
        for p in parameters.values():
            p.mul_(1 + 1e-4)  # bfloat16 has 8 bits: of 1 + 1e-4 it keeps 1
    for name, p in parameters.items():
        assert torch.equal(p == before[name], before[name] == 0), name
        assert torch.equal((before[name].bfloat16() * (1 + 1e-4)), before[name].bfloat16())
    rollout = policy.rollout(PROMPTS, 2, Noise(1, 0))
    assert replay_floor(policy, rollout) <= 1e-6 < LIMIT[torch.bfloat16]


def test_many_small_steps_of_an_optimizer_add_up() -> None:
    """AdamW with a constant gradient moves each weight by its learning rate a step: 100 steps of 1e-4 are 1e-2."""
    policy = full()
    parameters = policy.adapter.parameters()
    before = {name: p.detach().clone() for name, p in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-4, weight_decay=0.0)
    for p in parameters.values():
        p.grad = torch.ones_like(p)
    for _ in range(100):
        optimizer.step()
    for name, p in parameters.items():
        torch.testing.assert_close(p.detach(), before[name] - 1e-2, atol=1e-5, rtol=1e-5)


def test_gradients_are_float32_and_the_same_with_checkpointing() -> None:
    """A block that is run again in the backward pass has the same weights as in the forward pass."""
    plain, again = full(), full(gradient_checkpointing=True)
    rollout = plain.rollout(PROMPTS, 2, Noise(1, 0))
    expected, got = gradients(plain, rollout), gradients(again, rollout)
    assert set(expected) == set(plain.adapter.parameters())
    assert all(grad.dtype == torch.float32 for grad in got.values())
    assert sum(float(grad.abs().max()) > 0 for grad in expected.values()) > len(expected) / 2
    for name, grad in expected.items():
        assert torch.equal(got[name], grad), name
    assert {type(p) for p in again.transformer.parameters()} == {torch.nn.Parameter}  # the casts are gone


def test_a_gradient_is_that_of_float32_but_for_rounding() -> None:
    half, whole = full(), full("float32")
    rollout = whole.rollout(PROMPTS, 2, Noise(1, 0))
    expected = gradients(whole, rollout)
    rounded = rollout.latents_BTD.bfloat16()
    got = gradients(half, Rollout(**{**vars(rollout), "latents_BTD": rounded, "clean_BD": rollout.clean_BD.bfloat16()}))
    a, b = (torch.cat([grads[name].flatten() for name in expected]) for grads in (expected, got))
    assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) > 0.95


def test_the_reference_is_the_first_model_beside_a_kept_graph() -> None:
    policy = full()
    rollout, rows = policy.rollout(PROMPTS, 2, Noise(1, 0)), torch.arange(4)
    with torch.no_grad():
        before = policy.replay(rollout, rows, 0).mean
        for p in policy.adapter.parameters().values():
            p.add_(0.01)
        moved = policy.replay(rollout, rows, 0).mean
    expected = gradients(policy, rollout)
    for p in policy.adapter.parameters().values():
        p.grad = None
    kept = policy.replay(rollout, rows, 1).log_probs_B.sum()
    with torch.no_grad(), policy.adapter.reference():
        reference = policy.replay(rollout, rows, 0).mean
    kept.backward()
    assert torch.equal(reference, before)
    assert not torch.equal(moved, before)
    for name, p in policy.adapter.parameters().items():
        assert p.grad is not None and torch.equal(p.grad, expected[name]), name


def test_what_is_saved_is_in_the_policys_dtype_and_loads_again(tmp_path: Path) -> None:
    policy = full()
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.mul_(1.02)
    policy.adapter.save(tmp_path)
    assert {p.dtype for p in policy.adapter.parameters().values()} == {torch.float32}
    saved = load_file(tmp_path / "transformer" / "diffusion_pytorch_model.safetensors")
    for name, p in policy.adapter.parameters().items():
        assert torch.equal(saved[name], p.detach().bfloat16()), name
    ours = drawn(policy)
    stock = FluxPipeline.from_pretrained(tmp_path, local_files_only=True, torch_dtype=torch.bfloat16)
    stock.set_progress_bar_config(disable=True)
    noise = [generator(Purpose.HELDOUT, 5, p.id) for p in PROMPTS]
    size = {"height": 32, "width": 32, "num_inference_steps": 4, "max_sequence_length": 12}
    theirs = stock([p.text for p in PROMPTS], generator=noise, **size).images
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(ours, theirs, strict=True))
    fresh = full()
    assert not np.array_equal(drawn(fresh)[0], ours[0])
    fresh.load_trained(tmp_path)
    assert {p.dtype for p in fresh.adapter.parameters().values()} == {torch.float32}
    assert all(np.array_equal(a, b) for a, b in zip(ours, drawn(fresh), strict=True))


def test_a_checkpoint_has_all_bits_of_the_weights() -> None:
    """Of those that are trained, by their names: what `RPOModule` saves and loads."""
    policy, other = full(), full()
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.mul_(1 + 1e-4)
    other.load_state_dict(policy.state_dict())
    for name, p in policy.adapter.parameters().items():
        assert torch.equal(policy.state_dict()[f"transformer.{name}"], p)
        assert torch.equal(other.adapter.parameters()[name], p)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_weights_have_the_mode_of_other_files(adapter: str, umask: int, mode: int, tmp_path: Path) -> None:
    policy = full() if adapter == "full" else make_policy()
    before = os.umask(umask)
    try:
        policy.adapter.save(tmp_path)
    finally:
        os.umask(before)
    weights = list(tmp_path.rglob("*.safetensors"))
    assert weights
    assert {path.stat().st_mode & 0o777 for path in weights} == {mode}
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("float16", r"policy\.dtype=float16 trains without loss scaling: take bfloat16 \(or float32\)"),
        ("floot32", r"policy\.dtype=floot32: known are float32, bfloat16"),
        ("nn", r"policy\.dtype=nn: known are"),  # something of torch's, but no dtype
    ],
)
def test_other_dtypes_are_refused(dtype: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_policy(dtype=dtype)


@pytest.mark.parametrize("name", sorted(path.stem for path in Path("configs/policy").glob("*.yaml") if path.stem != "pipeline"))
def test_full_training_goes_with_every_models_file(name: str) -> None:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("plan", [f"policy={name}", "policy/adapter=full"])
    assert isinstance(instantiate(config.policy.adapter), Full)


def test_a_setting_of_no_adapter_is_named() -> None:
    with pytest.raises(UserError, match="rnak"):
        Full(rnak=4)


@pytest.mark.parametrize("way", ["pissa", "olora", False, "gausian"])
def test_a_lora_that_does_not_start_at_the_base_is_refused(way: object) -> None:
    with pytest.raises(UserError, match=rf"init_lora_weights={way}: true and gaussian, orthogonal start at the base"):
        small_lora(init_lora_weights=way)
