"""Objectives that noise the finished candidates again: online Flow-DPO and DiffusionNFT. Any sampler will do, also the ODE."""

from __future__ import annotations

import torch
from torch import Tensor

from arr_rpo.algorithm.base import Microbatch, best_and_worst, candidates
from arr_rpo.formulas.forward_losses import diffusion_nft, flow_dpo, noised, optimality, squared_error
from arr_rpo.noise import Purpose
from arr_rpo.policy.adapter import swapped
from arr_rpo.policy.parity import check_parity
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Advantages, Rollout


class ForwardProcess:
    """What these share: all units count, every noise level can be taken, and of a stochastic sampler's steps none is computed
    again, but that they could be is checked all the same."""

    needs_old = False

    def parity(self, policy: PipelinePolicy, rollout: Rollout) -> float | None:
        return check_parity(policy, rollout, None) if rollout.step_indices else None

    def working(self, advantages: Advantages, units: Tensor) -> Tensor:
        return units

    def steps(self, policy: PipelinePolicy, rollout: Rollout) -> int:
        return policy.num_inference_steps


class FlowDPO(ForwardProcess):
    """Online DPO (arXiv 2501.13918): the best and the worst candidate of each group, as the judge ranks them, are the pair.

    Args:
        beta: strength of the pull to the reference model, in units of 1 / velocity error (a mean over dimensions).
    """

    def __init__(self, *, beta: float) -> None:
        self.beta = beta

    def units(self, advantages: Advantages, group_size: int) -> Tensor:
        return best_and_worst(advantages, group_size)

    def loss(self, policy: PipelinePolicy, batch: Microbatch) -> tuple[Tensor, dict[str, Tensor]]:
        """A pair shares its noise and its noise level."""
        rows = torch.cat([batch.units[:, 0], batch.units[:, 1]])
        x_0 = batch.rollout.clean_BD[rows].float()
        half = len(batch.units)
        prompts = [(prompt,) for prompt, _ in batch.names(batch.units[:, 0])]
        noise = batch.noise.normal(Purpose.FORWARD, prompts, x_0.shape[1:], batch.epoch, batch.step).to(x_0)
        noise = torch.cat([noise, noise])
        x_t = noised(x_0, noise, policy.sigma(batch.step))
        velocity = policy.velocity(batch.rollout, rows, x_t, batch.step)
        with torch.no_grad(), policy.adapter.reference():
            before = policy.velocity(batch.rollout, rows, x_t, batch.step)
        error, reference = (squared_error(some, noise - x_0) for some in (velocity, before))
        result = flow_dpo(error[:half], reference[:half], error[half:], reference[half:], self.beta)
        return result.loss, {**result.log, "policy/velocity_distance": squared_error(velocity.detach(), before).mean()}


class DiffusionNFT(ForwardProcess):
    """Negative-aware fine-tuning (arXiv 2509.16117). A candidate of optimality 1/2 counts, too: it pulls to the old velocity.

    Args:
        beta: how far v+ and v- lie from the old velocity.
        advantage_scale: advantage at which a candidate counts as certainly good.
        kl_coefficient: of the mean squared difference of velocities to the reference model.
    """

    needs_old = True

    def __init__(self, *, beta: float, advantage_scale: float, kl_coefficient: float) -> None:
        self.beta, self.advantage_scale, self.kl_coefficient = beta, advantage_scale, kl_coefficient

    def units(self, advantages: Advantages, group_size: int) -> Tensor:
        return candidates(advantages)

    def loss(self, policy: PipelinePolicy, batch: Microbatch) -> tuple[Tensor, dict[str, Tensor]]:
        rows = batch.units.flatten()
        x_0 = batch.rollout.clean_BD[rows].float()
        noise = batch.noise.normal(Purpose.FORWARD, batch.names(rows), x_0.shape[1:], batch.epoch, batch.step).to(x_0)
        sigma = policy.sigma(batch.step)
        x_t = noised(x_0, noise, sigma)
        velocity = policy.velocity(batch.rollout, rows, x_t, batch.step)
        with torch.no_grad(), swapped(policy.adapter.parameters(), batch.old):
            old = policy.velocity(batch.rollout, rows, x_t, batch.step)
        good = optimality(batch.advantages.values_B[rows].to(x_0), self.advantage_scale)
        result = diffusion_nft(x_t, sigma, x_0, velocity, old, good, self.beta)
        loss, log = result.loss, result.log
        if self.kl_coefficient or batch.measure_kl:
            with torch.no_grad(), policy.adapter.reference():
                reference = policy.velocity(batch.rollout, rows, x_t, batch.step)
            distance = squared_error(velocity, reference).mean()
            loss = loss + self.kl_coefficient * distance
            log = {**log, "policy/velocity_distance": distance.detach()}
        return loss, log
