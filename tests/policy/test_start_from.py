"""Training from a LoRA that is there already, and from a transformer in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from arr_rpo.commands.cli.errors import told
from arr_rpo.noise import Noise
from arr_rpo.policy.loading import SHAPES_POLICY
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Prompt, UserError
from tests.conftest import configure, make_policy, small_lora

PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))
LAYERS = ["to_q", "to_v", "proj_mlp"]


def drawn(policy: PipelinePolicy) -> np.ndarray:
    return np.stack([np.asarray(image, float) for image in policy.generate(PROMPTS, seed=5)])


def moved(policy: PipelinePolicy, seed: int = 0) -> PipelinePolicy:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.copy_(0.1 * torch.randn(p.shape, generator=generator))
    return policy


@pytest.fixture
def somebodys(tmp_path: Path) -> PipelinePolicy:
    """A LoRA of rank 4 and alpha 8, saved as `sft` and, with .alpha tensors and no header, as `sft.safetensors`."""
    policy = moved(make_policy())
    policy.adapter.save(tmp_path / "sft")
    tensors = load_file(tmp_path / "sft" / "pytorch_lora_weights.safetensors")
    layers = {name.rsplit(".lora_", 1)[0] for name in tensors}
    save_file({**tensors, **{f"{layer}.alpha": torch.tensor(8.0) for layer in layers}}, tmp_path / "sft.safetensors")
    return policy


@pytest.mark.parametrize("name", ["sft", "sft.safetensors"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"alpha": 4}, {"rank": 6, "alpha": 3, "target_modules": LAYERS}],  # another scale; more rank and layers
)
def test_it_starts_with_the_same_pictures_and_every_weight_is_trained(
    name: str, changes: dict[str, object], somebodys: PipelinePolicy, tmp_path: Path
) -> None:
    policy = make_policy(adapter=small_lora(start_from=str(tmp_path / name), **changes))
    assert np.abs(drawn(policy) - drawn(somebodys)).max() <= 1
    assert np.abs(drawn(policy) - drawn(make_policy())).mean() > 5
    rollout = policy.rollout(PROMPTS, 1, Noise(1, 0))
    policy.replay(rollout, torch.arange(2), 0).log_probs_B.sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in policy.adapter.parameters().values())
    assert not any("start" in key for key in policy.pipe.transformer.state_dict())


def test_the_reference_is_where_training_started(somebodys: PipelinePolicy, tmp_path: Path) -> None:
    policy = make_policy(adapter=small_lora(start_from=str(tmp_path / "sft")))
    first = drawn(policy)
    moved(policy, seed=1)
    assert np.abs(drawn(policy) - first).mean() > 1
    with policy.adapter.reference():
        assert np.array_equal(drawn(policy), first)
    policy.adapter.save(tmp_path / "trained")
    fresh = make_policy()
    fresh.load_trained(tmp_path / "trained")  # what was saved is the whole change, and needs no start
    assert np.abs(drawn(policy) - drawn(fresh)).max() <= 1
    again = make_policy(adapter=small_lora(start_from=str(tmp_path / "sft")))
    again.load_trained(tmp_path / "trained")  # as `evaluate` does, whose base is the start
    assert np.abs(drawn(policy) - drawn(again)).max() <= 1
    with again.adapter.reference():
        assert np.array_equal(drawn(again), first)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target_modules": ["to_q"]}, "to_v and 5 more layers that this adapter does not train"),
        ({"rank": 2}, "is of rank 4: give policy.adapter.rank=4, or more"),
        ({"start_from": "nowhere"}, "start_from=nowhere: no LoRA that FluxPipeline loads"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], said: str, somebodys: PipelinePolicy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        make_policy(adapter=small_lora(**{"start_from": str(tmp_path / "sft"), **changes}))


def test_magnitudes_of_dora_are_not_dropped_in_silence(tmp_path: Path) -> None:
    policy = make_policy(adapter=small_lora())
    policy.pipe.transformer.delete_adapters("default")
    config = LoraConfig(r=4, lora_alpha=8, target_modules=LAYERS, use_dora=True)
    policy.pipe.transformer.add_adapter(config, adapter_name="default")
    policy.adapter.save(tmp_path / "dora")
    with pytest.raises(UserError, match=r"start_from=.*dora has DoRA's magnitudes or biases"):
        make_policy(adapter=small_lora(start_from=str(tmp_path / "dora"), target_modules=LAYERS))


def single_file(file: Path, overrides: Sequence[str] = ()) -> PipelinePolicy:
    chosen = ["policy/load=single_file", f"policy.load.transformer.file={file}", *overrides]
    policy = instantiate(configure(["experiment=t2i_rpo", *chosen]).policy)
    assert isinstance(policy, PipelinePolicy)
    return policy


def test_a_transformer_in_one_file(tmp_path: Path) -> None:
    weights = load_file(SHAPES_POLICY / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file({name: weight * 1.02 for name, weight in weights.items()}, tmp_path / "tuned.safetensors")
    policy = single_file(tmp_path / "tuned.safetensors")
    key = "transformer_blocks.0.attn.to_out.0.weight"
    found = policy.pipe.transformer.state_dict()[key.replace(".weight", ".base_layer.weight")]
    assert torch.equal(found, weights[key].float() * 1.02 if weights[key].dtype == torch.float32 else found)
    base = make_policy(num_inference_steps=8)
    assert np.abs(drawn(policy) - drawn(base)).mean() > 0
    with pytest.raises(Exception, match="no such file") as caught:
        single_file(tmp_path / "nowhere.safetensors")
    assert str(told(caught.value)).startswith("policy.load.transformer.file=")
