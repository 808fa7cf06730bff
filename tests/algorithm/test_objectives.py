"""Objectives on the embedded policy: what they leave alone, where they push, and that parts of a batch add up to the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from arr_rpo.algorithm.base import Algorithm, Microbatch, Objective, best_and_worst, candidates
from arr_rpo.algorithm.forward_process import DiffusionNFT, FlowDPO
from arr_rpo.algorithm.policy_gradient import FlowDPPO, PolicyGradient
from arr_rpo.formulas import dynamics, windows
from arr_rpo.formulas.losses import log_ratio, normalised_log_ratio, plain_weight, step_kl
from arr_rpo.noise import Noise, Purpose
from arr_rpo.policy.parity import check_parity, replay_floor
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Advantages, Prompt, Rollout, UserError
from tests.conftest import make_policy, make_sampler

PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))
NOISE = Noise(4, 0)


def advantages(*values: float | None) -> Advantages:
    """None where the judge had nothing to say."""
    given = torch.tensor([0.0 if value is None else value for value in values])
    return Advantages(given, torch.tensor([value is not None for value in values]))


VALUES = torch.tensor([1.0, -1.0, -1.0, 1.0])
ADVANTAGES = advantages(*VALUES.tolist())


@pytest.fixture(scope="module")
def shared() -> PipelinePolicy:
    torch.manual_seed(0)  # of the LoRA's first weights
    return make_policy()


@pytest.fixture
def policy(shared: PipelinePolicy) -> Iterator[PipelinePolicy]:
    """The embedded policy, put back to its first weights after each test."""
    first = {name: p.detach().clone() for name, p in shared.adapter.parameters().items()}
    yield shared
    shared.zero_grad()
    with torch.no_grad():
        for name, p in shared.adapter.parameters().items():
            p.copy_(first[name])


@pytest.fixture(scope="module")
def rollout(shared: PipelinePolicy) -> Rollout:
    return shared.rollout(PROMPTS, 2, Noise(1, 0))


def policy_gradient(**changes: object) -> PolicyGradient:
    arguments = {"log_ratio": log_ratio, "weight": plain_weight, "clip_range": 2e-3, "kl_coefficient": 0.0}
    return PolicyGradient(**{**arguments, **changes})  # type: ignore[arg-type]


def task(policy: PipelinePolicy, rollout: Rollout, units: torch.Tensor, step: int = 1, measure_kl: bool = False) -> Microbatch:
    old = {name: p.detach().clone() for name, p in policy.adapter.parameters().items()}
    return Microbatch(rollout, units, step, 0, ADVANTAGES, old, NOISE, measure_kl, 1.0)


def test_units_by_hand() -> None:
    assert candidates(advantages(0.0, 2.0, None, -1.0)).tolist() == [[0], [1], [3]]  # a grade of 0 is a grade
    groups = [(0.0, 2.0, -1.0), (0.0, 0.0, 0.0), (1.0, 1.0, -2.0)]
    assert best_and_worst(advantages(*sum(groups, ())), 3).tolist() == [[1, 2], [6, 8]]


def test_a_candidate_without_a_grade_is_in_no_pair() -> None:
    """Its 0 would be the worst of the first group, the best of the second, and the other side of the third's one grade."""
    groups = [(1.0, 2.0, None), (None, -1.0, -2.0), (None, 3.0, None), (None, None, None), (1.0, 1.0, None)]
    assert best_and_worst(advantages(*sum(groups, ())), 3).tolist() == [[1, 0], [4, 5]]
    assert FlowDPO(beta=1.0).units(advantages(*sum(groups, ())), 3).tolist() == [[1, 0], [4, 5]]


def test_a_mean_counts_what_needs_no_pass() -> None:
    """Two of the four valid candidates have no gradient without KL; all have one with it, and under NFT."""
    given = advantages(0.0, 1.0, None, -1.0, 0.0)
    plain, held = policy_gradient(), policy_gradient(kl_coefficient=0.1)
    nft = DiffusionNFT(beta=1.0, advantage_scale=1.0, kl_coefficient=0.0)
    units = [[0], [1], [3], [4]]
    for objective in (plain, held, nft):
        assert objective.units(given, 1).tolist() == units
    assert plain.working(given, torch.tensor(units)).tolist() == [[1], [3]]
    for objective in (held, nft):
        assert objective.working(given, torch.tensor(units)).tolist() == units


def test_what_does_not_work_has_no_gradient(policy: PipelinePolicy, rollout: Rollout) -> None:
    moved(policy)
    still = task(policy, rollout, torch.tensor([[0], [1]]))._replace(advantages=advantages(0.0, 0.0, 1.0, 1.0))
    loss, _ = policy_gradient().loss(policy, still)
    gradients = torch.autograd.grad(loss, list(policy.adapter.parameters().values()))
    assert loss == 0
    assert all((gradient == 0).all() for gradient in gradients)
    nft, _ = DiffusionNFT(beta=1.0, advantage_scale=1.0, kl_coefficient=0.0).loss(policy, still)
    assert nft > 0


@pytest.mark.parametrize(
    "objective",
    [
        FlowDPO(beta=100.0),
        DiffusionNFT(beta=1.0, advantage_scale=1.0, kl_coefficient=0.5),
        PolicyGradient(log_ratio=log_ratio, weight=plain_weight, clip_range=2e-3, kl_coefficient=0.5),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_microbatches_are_a_setting_of_memory(policy: PipelinePolicy, rollout: Rollout, objective: Objective) -> None:
    """The loss of all units is the mean of the losses of each, in any order. Measured: they differ by
    3e-6 at most, of 1."""
    moved(policy)
    first = task(policy, rollout, objective.units(ADVANTAGES, 2))
    first = first._replace(old={name: torch.zeros_like(p) for name, p in first.old.items()})
    with torch.no_grad():
        whole, _ = objective.loss(policy, first)
        parts = [objective.loss(policy, first._replace(units=part))[0] for part in reversed(first.units.split(1))]
        other_epoch, _ = objective.loss(policy, first._replace(epoch=1))
        other_update, _ = objective.loss(policy, first._replace(noise=Noise(4, 1)))
    torch.testing.assert_close(torch.stack(parts).mean(), whole, atol=1e-6, rtol=1e-5)
    draws = not isinstance(objective, PolicyGradient)
    assert draws == bool((other_epoch - whole).abs() > 1e-3) == bool((other_update - whole).abs() > 1e-3)


@pytest.mark.parametrize("ratio", [log_ratio, normalised_log_ratio])
def test_on_policy_the_surrogate_is_the_policy_gradient(policy: PipelinePolicy, rollout: Rollout, ratio: object) -> None:
    objective = policy_gradient(log_ratio=ratio)
    loss, log = objective.loss(policy, task(policy, rollout, objective.units(ADVANTAGES, 2)))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)  # the advantages add up to 0, all ratios are 1
    assert log["policy/ratio"].item() == pytest.approx(1.0, abs=1e-6)
    gradients = torch.autograd.grad(loss, list(policy.adapter.parameters().values()), allow_unused=True)
    now = policy.replay(rollout, torch.arange(4), 1)
    scale = now.std if ratio is normalised_log_ratio else 1.0
    plain = -(VALUES * now.log_probs_B).mean() * scale
    expected = torch.autograd.grad(plain, list(policy.adapter.parameters().values()), allow_unused=True)
    for got, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-4)


def moved(policy: PipelinePolicy, size: float = 0.05) -> None:
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(5)), alpha=size)


def test_the_clip_can_bind(policy: PipelinePolicy, rollout: Rollout) -> None:
    """In nats a dimension a range of 2e-3 binds after a small change of the weights, 0.2 does not."""
    moved(policy, 0.2)
    with torch.no_grad():
        change = policy.replay(rollout, torch.arange(4), 1).log_probs_B - rollout.log_probs_BT[:, 1]
    assert (change.abs() > 2e-3).all()
    wanted = task(policy, rollout, candidates(ADVANTAGES))
    wanted = wanted._replace(advantages=advantages(*change.sign().tolist()))  # each has gone far enough
    assert policy_gradient().loss(policy, wanted)[1]["policy/clip_fraction"] == 1
    assert policy_gradient(clip_range=0.2).loss(policy, wanted)[1]["policy/clip_fraction"] == 0
    against = wanted._replace(
        advantages=advantages(*(-change.sign()).tolist())
    )  # each has gone the wrong way: nothing may hold it back
    assert policy_gradient().loss(policy, against)[1]["policy/clip_fraction"] == 0


def flow_dppo(kl_threshold: float) -> FlowDPPO:
    return FlowDPPO(log_ratio=log_ratio, weight=plain_weight, kl_threshold=kl_threshold, kl=step_kl, kl_coefficient=0.0)


def test_the_exact_kl_holds_back_in_place_of_the_clip(policy: PipelinePolicy, rollout: Rollout) -> None:
    """Only where a candidate has gone far and its advantage asks for more of it; on its own samples nothing is held."""
    units = candidates(ADVANTAGES)
    start, log = flow_dppo(1e-9).loss(policy, task(policy, rollout, units))
    assert log["policy/clip_fraction"] == 0
    torch.testing.assert_close(start, policy_gradient().loss(policy, task(policy, rollout, units))[0])
    moved(policy, 0.2)
    with torch.no_grad():
        now = policy.replay(rollout, torch.arange(4), 1)
        change = now.log_probs_B - rollout.log_probs_BT[:, 1]
        kl = (((now.mean - rollout.means_BTD[:, 1]) / now.std) ** 2).mean((1, 2)) / 2
    wanted = task(policy, rollout, units)._replace(advantages=advantages(*change.sign().tolist()))
    between = float(kl.sort().values[1:3].mean())  # two candidates lie below, two above
    held, log = flow_dppo(between).loss(policy, wanted)
    assert log["policy/clip_fraction"] == 0.5
    torch.testing.assert_close(held, -(change.exp() * change.sign())[kl < between].sum() / 4)
    against = wanted._replace(advantages=advantages(*(-change.sign()).tolist()))
    assert flow_dppo(between).loss(policy, against)[1]["policy/clip_fraction"] == 0


def test_a_threshold_below_the_replays_own_noise_is_refused(policy: PipelinePolicy, rollout: Rollout) -> None:
    assert check_parity(policy, rollout, None, 1e-6) <= 1e-6
    with pytest.raises(UserError, match="kl_threshold=0"):
        check_parity(policy, rollout, None, 0.0)


def test_the_published_estimate_is_added_in_place_of_the_kl(policy: PipelinePolicy, rollout: Rollout) -> None:
    """The log has the exact one all the same."""
    moved(policy)
    units = candidates(ADVANTAGES)
    without, log = policy_gradient().loss(policy, task(policy, rollout, units, measure_kl=True))
    with_estimate, other = policy_gradient(kl=log_ratio, kl_coefficient=3.0).loss(policy, task(policy, rollout, units))
    with torch.no_grad():
        now = policy.replay(rollout, torch.arange(4), 1).log_probs_B
        with policy.adapter.reference():
            reference = policy.replay(rollout, torch.arange(4), 1).log_probs_B
    torch.testing.assert_close(with_estimate - without, 3 * (now - reference).mean())
    torch.testing.assert_close(other["policy/kl"], log["policy/kl"])


def test_kl_is_added_with_its_coefficient(policy: PipelinePolicy, rollout: Rollout) -> None:
    moved(policy)
    units = candidates(ADVANTAGES)
    without, log = policy_gradient().loss(policy, task(policy, rollout, units, measure_kl=True))
    with_kl, _ = policy_gradient(kl_coefficient=3.0).loss(policy, task(policy, rollout, units))
    assert log["policy/kl"] > 0
    torch.testing.assert_close(with_kl - without, 3 * log["policy/kl"])
    assert "policy/kl" not in policy_gradient().loss(policy, task(policy, rollout, units))[1]


def test_flow_dpo_starts_at_log_two_and_learns_the_order(policy: PipelinePolicy, rollout: Rollout) -> None:
    objective = FlowDPO(beta=100.0)
    units = objective.units(ADVANTAGES, 2)
    assert units.tolist() == [[0, 1], [3, 2]]
    start, log = objective.loss(policy, task(policy, rollout, units))
    assert start.item() == pytest.approx(math.log(2), abs=1e-4)  # an adapter of zeros is the reference
    assert log["policy/velocity_distance"] == pytest.approx(0, abs=1e-9)
    assert decreases(policy, objective, rollout, units)
    _, log = objective.loss(policy, task(policy, rollout, units))
    assert log["policy/implicit_accuracy"] == 1.0
    assert log["policy/velocity_distance"] > 1e-6


def decreases(policy: PipelinePolicy, objective: Objective, rollout: Rollout, units: torch.Tensor, steps: int = 8) -> bool:
    """Whether steps on the objective, against the first weights as the old ones, lower it."""
    first = task(policy, rollout, units)
    optimizer = torch.optim.AdamW(policy.adapter.parameters().values(), lr=1e-3)
    losses = []
    for _ in range(steps):
        loss, _ = objective.loss(policy, first)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[-1] < losses[0]


def test_nft_pulls_to_the_good_and_pushes_from_the_bad(policy: PipelinePolicy, rollout: Rollout) -> None:
    """The velocity error falls on the candidates with a positive advantage, and rises on the others."""
    objective = DiffusionNFT(beta=1.0, advantage_scale=1.0, kl_coefficient=0.0)
    units = objective.units(ADVANTAGES, 2)
    noise = NOISE.normal(Purpose.FORWARD, [(0, 0), (0, 1), (1, 0), (1, 1)], rollout.clean_BD.shape[1:], 0, 1)
    sigma, rows = policy.sigma(1), torch.arange(4)

    def errors() -> torch.Tensor:
        with torch.no_grad():
            x_t = (1 - sigma) * rollout.clean_BD + sigma * noise
            return ((policy.velocity(rollout, rows, x_t, 1) - (noise - rollout.clean_BD)) ** 2).flatten(1).mean(1)

    before = errors()
    assert decreases(policy, objective, rollout, units)
    change = errors() - before
    assert (change[VALUES > 0] < 0).all()
    assert (change[VALUES < 0] > 0).all()


def test_nft_measures_its_distance_from_old_and_reference(policy: PipelinePolicy, rollout: Rollout) -> None:
    objective = DiffusionNFT(beta=1.0, advantage_scale=1.0, kl_coefficient=2.0)
    first = task(policy, rollout, candidates(ADVANTAGES))
    _, log = objective.loss(policy, first)
    assert log["policy/old_deviation"].item() == log["policy/velocity_distance"].item() == 0.0
    moved(policy)
    plain, log = DiffusionNFT(beta=1.0, advantage_scale=1.0, kl_coefficient=0.0).loss(policy, first._replace(measure_kl=True))
    held, _ = objective.loss(policy, first)
    assert log["policy/old_deviation"] > 0
    torch.testing.assert_close(log["policy/old_deviation"], log["policy/velocity_distance"])
    torch.testing.assert_close(held - plain, 2 * log["policy/velocity_distance"])


@pytest.mark.parametrize("sampler", ["dance_sde", "cps"])
def test_every_dynamics_replays_exactly(policy: PipelinePolicy, sampler: str) -> None:
    policy.sampler = make_sampler(dynamics=getattr(dynamics, sampler), eta=0.5)
    rollout = policy.rollout(PROMPTS, 2, Noise(1, 0))
    assert rollout.step_indices == (0, 1, 2)
    assert replay_floor(policy, rollout) <= 1e-6
    policy.sampler = make_sampler()


def test_a_window_records_its_steps_only(policy: PipelinePolicy) -> None:
    window = make_sampler(window=lambda update, steps, draw: windows.fixed(update, steps, draw, start=1, size=1))
    rollout = policy.rollout(PROMPTS, 2, Noise(1, 0), sampler=window)
    assert rollout.step_indices == (1,)
    assert rollout.latents_BTD.shape == (4, 2, 16, 32)
    assert rollout.means_BTD.shape == (4, 1, 16, 32)
    assert replay_floor(policy, rollout) <= 1e-6
    slides = make_sampler(
        window=lambda update, steps, draw: windows.progressive(update, steps, draw, size=1, every=1, stride=1)
    )
    assert [policy.rollout(PROMPTS[:1], 1, Noise(1, u), sampler=slides).step_indices for u in (0, 1, 2, 3)] == [
        (0,),
        (1,),
        (2,),
        (0,),
    ]


def test_without_noise_a_rollout_is_what_is_deployed(policy: PipelinePolicy) -> None:
    rollout = policy.rollout(PROMPTS, 1, Noise(1, 0), sampler=make_sampler(eta=0.0))
    assert rollout.step_indices == ()
    assert rollout.log_probs_BT.shape == (2, 0)
    start = [Noise(1, 0).generator(Purpose.FIRST, place, 0) for place in range(2)]
    for a, b in zip(rollout.images, policy.called(PROMPTS, "pil", generator=start), strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))
    with pytest.raises(UserError, match="diffusion_nft"):
        check_parity(policy, rollout, 2e-3)


def test_the_clean_latents_are_those_of_the_pictures(policy: PipelinePolicy, rollout: Rollout) -> None:
    latents = policy.pipe._unpack_latents(rollout.clean_BD, 32, 32, policy.pipe.vae_scale_factor)
    config = policy.pipe.vae.config
    with torch.no_grad():
        decoded = policy.pipe.vae.decode(latents / config.scaling_factor + config.shift_factor, return_dict=False)[0]
    pictures = policy.pipe.image_processor.postprocess(decoded, output_type="pil")
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(pictures, rollout.images, strict=True))


def test_a_small_batch_size_changes_nothing_but_memory(policy: PipelinePolicy, rollout: Rollout) -> None:
    policy.batch_size = 3
    again = policy.rollout(PROMPTS, 2, Noise(1, 0))
    torch.testing.assert_close(again.latents_BTD, rollout.latents_BTD, atol=2e-5, rtol=0)
    with torch.no_grad():
        means = policy.replay(rollout, torch.tensor([3, 1, 0, 2]), 0).mean
    policy.batch_size = 128
    torch.testing.assert_close(means, rollout.means_BTD[[3, 1, 0, 2], 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 0}, "algorithm.epochs=0: it must be 1 or more"),
        ({"minibatch_size": 0}, "algorithm.minibatch_size=0: it must be 1 or more, or null"),
        ({"steps_per_update": -1}, "algorithm.steps_per_update=-1"),
        ({"group_size": None}, "algorithm.group_size=None"),
        ({"max_grad_norm": 0.0}, "algorithm.max_grad_norm=0.0: it must be above 0"),
        ({"old_decay": lambda update: 0.5}, "algorithm.old_decay does nothing with this objective"),
    ],
)
def test_settings_that_are_out_of_range_or_do_nothing_are_refused(changes: dict[str, object], told: str) -> None:
    given = {"advantage": lambda rewards, valid: rewards, "objective": policy_gradient(), "group_size": 2, "epochs": 1}
    given |= {"minibatch_size": None, "microbatch_size": None, "steps_per_update": None, "max_grad_norm": 1.0}
    given |= {"kl_every_n_updates": None, "old_decay": None}
    Algorithm(**given)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=told):
        Algorithm(**{**given, **changes})  # type: ignore[arg-type]


def test_a_clip_of_null_is_refused() -> None:
    with pytest.raises(UserError, match="clip_range=None: it must be above 0"):
        policy_gradient(clip_range=None)
