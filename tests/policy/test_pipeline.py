"""The pipeline as a policy: exact replay, gradients only where they belong, the stock pipeline's own pictures."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, FluxPipeline
from hydra.utils import instantiate
from PIL import Image

from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.images import pictures
from arr_rpo.formulas import dynamics
from arr_rpo.formulas.losses import Step, log_ratio
from arr_rpo.noise import Noise, Purpose, generator
from arr_rpo.policy.adapter import Full
from arr_rpo.policy.loading import SHAPES_POLICY, compile_blocks, flow_scheduler
from arr_rpo.policy.parity import check_parity, replay_floor
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.policy.scheduler import PolicyScheduler, Recording
from arr_rpo.types import Prompt, Rollout, UserError
from tests.conftest import assert_same_picture, configure, make_policy, make_sampler, small_lora

PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))


@pytest.fixture(scope="module")
def policy() -> PipelinePolicy:
    return make_policy()


@pytest.fixture(scope="module")
def rollout(policy: PipelinePolicy) -> Rollout:
    return policy.rollout(PROMPTS, 2, Noise(1, 2))


def test_shapes_of_a_rollout(rollout: Rollout) -> None:
    assert len(rollout.images) == 4
    assert rollout.step_indices == (0, 1, 2)  # of 4 steps the last is deterministic
    assert rollout.latents_BTD.shape == (4, 4, 16, 32)
    assert rollout.log_probs_BT.shape == (4, 3)
    assert [rollout.prompt_of(row).id for row in range(4)] == ["a", "a", "b", "b"]


def test_replay_agrees_with_the_recording(policy: PipelinePolicy, rollout: Rollout) -> None:
    assert replay_floor(policy, rollout) <= 1e-6
    assert check_parity(policy, rollout, clip_range=2e-3) <= 1e-6


def test_rollouts_repeat_by_seed_and_differ_between_seeds(policy: PipelinePolicy, rollout: Rollout) -> None:
    again = policy.rollout(PROMPTS, 2, Noise(1, 2))
    other = policy.rollout(PROMPTS, 2, Noise(1, 3))
    assert torch.equal(again.latents_BTD, rollout.latents_BTD)
    assert not torch.equal(other.latents_BTD[:, 0], rollout.latents_BTD[:, 0])


def first_noise() -> list[torch.Generator]:
    """That of the deployed pictures of PROMPTS with seed 5, for the stock pipeline."""
    return [generator(Purpose.HELDOUT, 5, prompt.id) for prompt in PROMPTS]


def rolled(policy: PipelinePolicy, batch_size: int, prompts: tuple[Prompt, ...] = PROMPTS, **more: object) -> Rollout:
    before, policy.batch_size = policy.batch_size, batch_size
    try:
        return policy.rollout(prompts, 3, Noise(1, 2), **more)  # type: ignore[arg-type]
    finally:
        policy.batch_size = before


def grey(images: Iterable[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=float) for image in images])


def test_candidates_do_not_depend_on_the_batch_size(policy: PipelinePolicy) -> None:
    """Kernels round by the size of a batch. Measured: 1.8e-6 in latents of size 1 after three noisy steps, one grey value."""
    whole = rolled(policy, 64)
    for batch_size in (1, 4):  # calls of 1, and of 4 and 2
        parts = rolled(policy, batch_size)
        torch.testing.assert_close(parts.latents_BTD, whole.latents_BTD, atol=2e-5, rtol=0)
        torch.testing.assert_close(parts.log_probs_BT, whole.log_probs_BT, atol=2e-5, rtol=0)
        assert np.abs(grey(parts.images) - grey(whole.images)).max() <= 1


def test_a_candidates_path_is_that_of_its_name(policy: PipelinePolicy) -> None:
    """Whatever else is drawn: a larger group, and another prompt before it where prompts have keys."""
    keyed = rolled(policy, 64, keys=["a", "b"])
    alone = rolled(policy, 64, PROMPTS[1:], keys=["b"])
    torch.testing.assert_close(alone.latents_BTD, keyed.latents_BTD[3:], atol=2e-5, rtol=0)
    assert (keyed.latents_BTD - rolled(policy, 64).latents_BTD).abs().max() > 0.1  # an id is no place
    fewer = policy.rollout(PROMPTS, 2, Noise(1, 2))
    torch.testing.assert_close(fewer.latents_BTD, rolled(policy, 64).latents_BTD[[0, 1, 3, 4]], atol=2e-5, rtol=0)
    steps = fewer.latents_BTD[:, 1:] - fewer.means_BTD
    assert (steps[0] - steps[1]).abs().mean((1, 2)).min() > 0.1  # noise of each step: of its candidate


def test_deployed_pictures_are_those_of_their_prompts(policy: PipelinePolicy) -> None:
    """By 4 and by 64, in another order, and of some prompts alone. Measured: not one grey value differs."""
    prompts = read_prompts("shapes/heldout")[:10]
    whole = pictures(policy, prompts, 3, 64)
    policy.batch_size = 4
    by_four = pictures(policy, prompts, 3, 4)
    policy.batch_size = 128
    some = [7, 0, 4]
    assert np.abs(grey(by_four) - grey(whole)).max() <= 1
    assert np.abs(grey(pictures(policy, [prompts[i] for i in some], 3, 64)) - grey(whole)[some]).max() <= 1
    assert np.abs(grey(pictures(policy, prompts[:1], 4, 64)) - grey(whole[:1])).mean() > 5


def test_several_pictures_of_one_prompt_have_keys(policy: PipelinePolicy) -> None:
    one, other, again = grey(policy.generate([PROMPTS[0]] * 3, 3, [("a", 1), ("a", 2), ("a", 1)]))
    assert np.abs(one - again).max() <= 1
    assert np.abs(one - other).mean() > 5


def test_a_step_with_other_rows_than_candidates_is_refused() -> None:
    scheduler = PolicyScheduler()
    scheduler.set_timesteps(4)
    scheduler.mode = Recording(dynamics.flow_sde, 0.7, range(3), [torch.Generator()])
    with pytest.raises(UserError, match="2 rows for 1 candidates"):
        scheduler.step(torch.zeros(2, 3), scheduler.timesteps[1], torch.zeros(2, 3))


def test_log_probabilities_match_numpy(policy: PipelinePolicy, rollout: Rollout) -> None:
    """From the velocity of a plain transformer call, step 1: Flow-GRPO's mean and std in NumPy."""
    sigmas = [4 * s / (1 + 3 * s) for s in (1.0, 0.75, 0.5, 0.25, 0.0)]  # the checkpoint's shift is 4
    embeds, pooled, text_ids = policy.pipe.encode_prompt(
        prompt=[rollout.prompt_of(row).text for row in range(4)], prompt_2=None, max_sequence_length=12
    )
    x, following = (rollout.latents_BTD[:, i].double().numpy() for i in (1, 2))
    with torch.no_grad():
        velocity = policy.pipe.transformer(
            hidden_states=rollout.latents_BTD[:, 1],
            timestep=torch.full((4,), sigmas[1]),
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=text_ids,
            img_ids=policy.pipe._prepare_latent_image_ids(4, 4, 4, torch.device("cpu"), torch.float32),
            return_dict=False,
        )[0].numpy()
    sigma, dt = sigmas[1], sigmas[2] - sigmas[1]
    s = 0.7 * math.sqrt(sigma / (1 - sigma))
    mean = x * (1 + s**2 / (2 * sigma) * dt) + velocity * (1 + s**2 * (1 - sigma) / (2 * sigma)) * dt
    std = s * math.sqrt(-dt)
    expected = (-((following - mean) ** 2) / (2 * std**2) - math.log(std) - 0.5 * math.log(2 * math.pi)).mean((1, 2))
    np.testing.assert_allclose(rollout.log_probs_BT[:, 1].numpy(), expected, atol=2e-6)


def test_gradient_matches_finite_differences_and_reaches_only_the_adapter(policy: PipelinePolicy, rollout: Rollout) -> None:
    rows = torch.tensor([0, 3])
    parameters = policy.adapter.parameters()
    with torch.no_grad():
        for p in parameters.values():
            p.normal_(0, 0.05, generator=torch.Generator().manual_seed(0))
    policy.zero_grad()
    policy.replay(rollout, rows, 1).log_probs_B.sum().backward()
    with_gradient = {name for name, p in policy.pipe.transformer.named_parameters() if p.grad is not None}
    assert with_gradient == set(parameters)
    weight = next(p for name, p in parameters.items() if "lora_B" in name)
    index = divmod(int(weight.grad.abs().argmax()), weight.shape[1])  # type: ignore[union-attr]
    epsilon = 1e-2

    def value(shift: float) -> float:
        with torch.no_grad():
            weight[index] += shift
            out = float(policy.replay(rollout, rows, 1).log_probs_B.double().sum())
            weight[index] -= shift
        return out

    numeric = (value(epsilon) - value(-epsilon)) / (2 * epsilon)
    assert float(weight.grad[index]) == pytest.approx(numeric, rel=0.05)  # type: ignore[index]


def drawn_by(stock: FluxPipeline) -> list[Image.Image]:
    stock.set_progress_bar_config(disable=True)
    size = {"height": 32, "width": 32, "num_inference_steps": 4, "max_sequence_length": 12}
    return list(stock([p.text for p in PROMPTS], generator=first_noise(), **size).images)


def test_the_deterministic_policy_is_the_stock_pipeline() -> None:
    policy = make_policy()
    stock = FluxPipeline.from_pretrained(SHAPES_POLICY, local_files_only=True)
    for ours, expected in zip(policy.generate(PROMPTS, seed=5), drawn_by(stock), strict=True):
        assert np.array_equal(np.asarray(ours), np.asarray(expected))


def test_saved_lora_loads_in_the_stock_pipeline_and_makes_the_same_pictures(tmp_path: Path) -> None:
    """With every layer that the shipped config adapts: what the pipeline's loader does not know, it would drop."""
    config = configure(["experiment=t2i_rpo", "run_dir=unused"]).policy
    policy = make_policy(adapter=instantiate(config.adapter))
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    policy.adapter.save(tmp_path)
    stock = FluxPipeline.from_pretrained(SHAPES_POLICY, local_files_only=True)
    stock.load_lora_weights(tmp_path)
    ours = policy.generate(PROMPTS, seed=5)
    for own, other in zip(ours, drawn_by(stock), strict=True):
        assert_same_picture(np.asarray(own), np.asarray(other))  # the adapted layers are one product in ours
    fresh = make_policy(adapter=instantiate(config.adapter))
    assert not np.array_equal(np.asarray(fresh.generate(PROMPTS, seed=5)[0]), np.asarray(ours[0]))
    fresh.load_trained(tmp_path)
    assert np.array_equal(np.asarray(fresh.generate(PROMPTS, seed=5)[0]), np.asarray(ours[0]))


def test_full_training_saves_a_pipeline_that_draws_the_same(tmp_path: Path) -> None:
    policy = make_policy(adapter=Full(), scheduler={"shift": 3.0})
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.mul_(1.02)
    policy.adapter.save(tmp_path)
    assert isinstance(policy.pipe.scheduler, PolicyScheduler)
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    assert index["scheduler"] == ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    stock = FluxPipeline.from_pretrained(tmp_path, local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    noise = first_noise()
    theirs = stock(
        [p.text for p in PROMPTS], height=32, width=32, num_inference_steps=4, max_sequence_length=12, generator=noise
    ).images
    ours = policy.generate(PROMPTS, seed=5)
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True))
    fresh = make_policy(adapter=Full(), scheduler={"shift": 3.0})
    assert not np.array_equal(np.asarray(fresh.generate(PROMPTS, seed=5)[0]), np.asarray(ours[0]))
    fresh.load_trained(tmp_path)
    assert np.array_equal(np.asarray(fresh.generate(PROMPTS, seed=5)[0]), np.asarray(ours[0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler": {"shfit": 3.0}}, "unknown setting 'shfit'"),
        ({"adapter": small_lora(target_modules=["to_x"])}, "to_x"),
        ({"adapter": Full(), "release_text_encoders": True}, "release_text_encoders"),
        ({"num_inference_steps": 1}, "num_inference_steps=1"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_policy(**changes)


def test_a_pipeline_that_is_not_flow_matching_is_refused() -> None:
    pipe = type("OldPipeline", (), {"scheduler": EulerDiscreteScheduler()})()
    with pytest.raises(UserError, match=r"OldPipeline denoises with EulerDiscreteScheduler, which is not flow matching"):
        flow_scheduler(pipe, {})


def test_a_lora_of_another_rank_is_refused(tmp_path: Path) -> None:
    make_policy().adapter.save(tmp_path)
    other = small_lora(rank=2)
    with pytest.raises(UserError, match="its layers or its rank differ"):
        make_policy(adapter=other).load_trained(tmp_path)


def test_all_components_move_together() -> None:
    """To a GPU, say; here to the device that holds nothing."""
    policy = make_policy().to("meta")
    parts = {name: part for name, part in policy.pipe.components.items() if isinstance(part, torch.nn.Module)}
    assert set(parts) == {"transformer", "vae", "text_encoder", "text_encoder_2"}
    assert {p.device.type for part in parts.values() for p in part.parameters()} == {"meta"}
    assert not any(name.startswith(("vae", "text_encoder")) for name, _ in policy.named_parameters())


def test_shared_noise_starts_a_group_from_one_point() -> None:
    rollout = make_policy(sampler=make_sampler(shared_noise=True)).rollout(PROMPTS, 2, Noise(1, 0))
    start = rollout.latents_BTD[:, 0]
    assert torch.equal(start[0], start[1])
    assert not torch.equal(start[0], start[2])


def test_parity_gate_stops_a_broken_replay_and_a_clip_range_below_the_floor(policy: PipelinePolicy, rollout: Rollout) -> None:
    with torch.no_grad():
        before = {name: p.clone() for name, p in policy.adapter.parameters().items()}
        for p in policy.adapter.parameters().values():
            p.normal_(0, 0.3, generator=torch.Generator().manual_seed(2))
        with pytest.raises(UserError, match="replay parity"):
            check_parity(policy, rollout, 2e-3)
        for name, p in policy.adapter.parameters().items():
            p.copy_(before[name])
    fresh = policy.rollout(PROMPTS, 2, Noise(9, 0))
    with pytest.raises(UserError, match="clip_range=0"):
        check_parity(policy, fresh, 0.0)


def test_missing_and_corrupt_weights_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no/such"):
        make_policy(checkpoint="no/such/folder")
    (tmp_path / "model_index.json").write_text("{broken", encoding="utf-8")
    with pytest.raises(UserError, match=str(tmp_path)):
        make_policy(checkpoint=str(tmp_path))


def test_no_noise_is_refused() -> None:
    policy = make_policy(sampler=make_sampler(eta=0.0))
    with pytest.raises(UserError, match=r"sampler\.eta=0: .* sampler=flow_sde"):
        check_parity(policy, policy.rollout(PROMPTS, 2, Noise(1, 0)), 2e-3)


def test_blocks_are_compiled_where_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """At their first call, which takes a minute or two (benchmarks/README.md)."""
    compiled = [block for block in make_policy(compile=True).transformer.modules() if block._compiled_call_impl is not None]
    assert {type(block).__name__ for block in compiled} == {"FluxTransformerBlock", "FluxSingleTransformerBlock"}
    with pytest.raises(UserError, match="Linear cannot be compiled by its blocks"):
        compile_blocks(torch.nn.Linear(1, 1))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="no C\\+\\+ compiler"):
        make_policy(compile=True)


def test_another_number_of_steps_than_the_config_says_is_told() -> None:
    policy = make_policy()
    policy.called.arguments["sigmas"] = [1.0, 0.5]
    with pytest.raises(UserError, match=r"the pipeline took 2 steps.* set policy\.num_inference_steps=2"):
        policy.rollout(PROMPTS, 1, Noise(1, 0))


def test_a_clip_range_is_held_against_a_floor_in_its_own_units(policy: PipelinePolicy) -> None:
    fresh = policy.rollout(PROMPTS, 2, Noise(9, 0))

    def thousand(step: Step) -> torch.Tensor:
        return 1000 + log_ratio(step)

    with pytest.raises(UserError, match=r"clip_range=1 lies below the replay floor 1\.0e\+03"):
        check_parity(policy, fresh, 1.0, log_ratio=thousand)
    check_parity(policy, fresh, 1001.0, log_ratio=thousand)
