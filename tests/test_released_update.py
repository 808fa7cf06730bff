"""A whole update of `rpo_paper`, against the formulas of ARR's released code (docs/coming_from.md) written out once more:
schedule, stochastic step, log-probability, loss of all timesteps and both samples, gradient, AdamW. It shares the model's
transformer and prompt encoder with the program, and nothing else."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from arr_rpo.module import RPOModule
from arr_rpo.noise import Noise
from arr_rpo.types import Prompt, Rewards
from tests.conftest import configure

PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))
REWARDS = torch.tensor([1.0, -0.1, -0.1, 1.0])
STEPS, SHIFT, ETA, EPS, BETA = 4, 3.0, 0.3, 0.2, 0.01


@pytest.fixture
def module() -> RPOModule:
    """With an adapter that is not the reference any more, and the experiment's own optimizer."""
    settings = [f"policy.num_inference_steps={STEPS}", "+policy.scheduler.shift=3", "policy.adapter.init_lora_weights=true"]
    module: RPOModule = instantiate(configure(["experiment=t2i_rpo_paper_shapes", "run_dir=x", *settings]).module)
    optimizer = module.configure_optimizers()
    module.optimizers = lambda: optimizer  # type: ignore[method-assign, assignment, return-value]
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign, assignment, misc]
    move(module, 0.02, seed=1)
    return module


def move(module: RPOModule, size: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.policy.adapter.parameters().values():
            p.add_(torch.randn(p.shape, generator=generator), alpha=size)


def log_prob(pipe: Any, latents: Tensor, following: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """(B,) of the step from `latents` to `following`, a mean over dimensions."""
    embeds, pooled, text_ids = pipe.encode_prompt(
        prompt=[prompt.text for prompt in PROMPTS for _ in range(2)], prompt_2=None, max_sequence_length=12
    )
    velocity = pipe.transformer(
        hidden_states=latents,
        timestep=torch.full((4,), sigma),
        pooled_projections=pooled,
        encoder_hidden_states=embeds,
        txt_ids=text_ids,
        img_ids=pipe._prepare_latent_image_ids(4, 4, 4, "cpu", torch.float32),
        return_dict=False,
    )[0]
    dt, std = sigma - sigma_next, ETA * math.sqrt(sigma - sigma_next)
    clean = latents - sigma * velocity
    score = -(latents - (1 - sigma) * clean) / sigma**2
    mean = latents - dt * velocity + 0.5 * ETA**2 * score * dt
    density = -((following - mean) ** 2) / (2 * std**2) - math.log(std) - 0.5 * math.log(2 * math.pi)
    return density.mean((1, 2))


def published_loss(module: RPOModule, latents: Tensor, old: Tensor) -> Tensor:
    """The mean over all samples and all timesteps but the last. latents: (4, STEPS, ...); old: (4, STEPS - 1)."""
    pipe, grid = module.policy.pipe, np.linspace(1, 0, STEPS + 1)
    sigmas = (SHIFT * grid / (1 + (SHIFT - 1) * grid)).tolist()
    losses = []
    for t in range(STEPS - 1):
        step = (latents[:, t], latents[:, t + 1], sigmas[t], sigmas[t + 1])
        now = log_prob(pipe, *step)
        with torch.no_grad(), reference(pipe):
            kept = log_prob(pipe, *step)
        rho = torch.exp(now - old[:, t])
        losses.append(torch.maximum(-REWARDS * rho, -REWARDS * rho.clamp(1 - EPS, 1 + EPS)) + BETA * (now - kept))
    return torch.stack(losses).mean()


@contextlib.contextmanager
def reference(pipe: Any) -> Any:
    pipe.transformer.disable_adapters()
    yield
    pipe.transformer.enable_adapters()


@pytest.mark.parametrize("moved", [0.0, 0.1], ids=["on its own samples, as released", "moved since: the clip binds"])
def test_one_update(module: RPOModule, moved: float) -> None:
    rollout = module.rollout(PROMPTS, Noise(1, 0))
    start = rollout.latents_BTD[:, 0]
    assert torch.equal(start[0], start[1])  # one first noise
    move(module, moved, seed=2)
    parameters = module.policy.adapter.parameters()
    loss = published_loss(module, rollout.latents_BTD, rollout.log_probs_BT)
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    before = [p.detach().clone() for p in parameters.values()]

    advantages = module.advantages(Rewards(REWARDS, torch.ones(4, dtype=torch.bool)))
    log = module.update(rollout, advantages, Noise(1, 0))

    assert module.metrics["policy/optimizer_steps"] == 1
    assert (log["policy/clip_fraction"] > 0) == (moved > 0)
    assert log["loss"] == pytest.approx(loss.item(), rel=1e-5, abs=1e-6)
    assert log["policy/grad_norm"] == pytest.approx(norm.item(), rel=1e-3)
    clip = min(1.0, 1.0 / norm.item())  # to a norm of 1
    for gradient, p, first in zip(gradients, parameters.values(), before, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradient * clip, rtol=1e-3, atol=1e-6 * clip)
        # AdamW's first step, whose moments are the gradient and its square: lr 3e-4, eps 1e-8, weight decay 1e-4
        expected = first * (1 - 3e-4 * 1e-4) - 3e-4 * p.grad / (p.grad.abs() + 1e-8)
        torch.testing.assert_close(p.detach(), expected, rtol=1e-6, atol=1e-8)


def test_the_moments_fade_as_released(module: RPOModule) -> None:
    group = module.optimizers().param_groups[0]  # type: ignore[union-attr]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 1e-4)


def test_on_its_own_samples_the_kl_is_a_shift_of_the_advantages(module: RPOModule) -> None:
    """What algorithm/rpo_paper says of itself: the gradient is that of -(A - beta) log p."""
    rollout = module.rollout(PROMPTS, Noise(1, 0))
    parameters = list(module.policy.adapter.parameters().values())
    released = torch.autograd.grad(published_loss(module, rollout.latents_BTD, rollout.log_probs_BT), parameters)
    log_probs = torch.stack([module.policy.replay(rollout, torch.arange(4), t).log_probs_B for t in range(STEPS - 1)])
    plain = torch.autograd.grad(-((REWARDS - BETA) * log_probs).mean(), parameters)
    for got, wanted in zip(released, plain, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-6)
