"""PPO's family: the recorded stochastic steps again, their ratio clipped, with the exact KL of each step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from arr_rpo.algorithm.base import Microbatch, candidates
from arr_rpo.formulas.losses import ClippedLoss, Step, clipped_surrogate, divergence_masked_surrogate, step_kl
from arr_rpo.policy.parity import check_parity
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.policy.scheduler import ReplayedStep
from arr_rpo.types import Advantages, Rollout, UserError


class PolicyGradient:
    """Clipped surrogate plus `kl_coefficient` times the KL of the step to the reference model.

    Args:
        log_ratio: `formulas.losses.log_ratio`, or `normalised_log_ratio` (GRPO-Guard).
        weight: of a step's loss, `plain_weight` or `inverse_dt` (GRPO-Guard).
        clip_range: eps, in the units of `log_ratio`.
        kl_coefficient: beta, of the KL in nats a dimension.
        kl: what stands for the KL in the loss: `formulas.losses.step_kl`, which is exact, or `log_ratio`, the published
            estimate. The log has the exact one.
    """

    needs_old = False

    def __init__(
        self,
        *,
        log_ratio: Callable[[Step], Tensor],
        weight: Callable[[Step], float],
        clip_range: float,
        kl_coefficient: float,
        kl: Callable[[Step], Tensor] = step_kl,  # a run of before does not know it
    ) -> None:
        if clip_range is None or not clip_range > 0:
            raise UserError(f"algorithm.objective.clip_range={clip_range}: it must be above 0 (inf clips nothing)")
        self.log_ratio, self.weight, self.kl = log_ratio, weight, kl
        self.clip_range = clip_range
        self.kl_coefficient = kl_coefficient

    def parity(self, policy: PipelinePolicy, rollout: Rollout) -> float | None:
        return check_parity(policy, rollout, self.clip_range, log_ratio=self.log_ratio)

    def units(self, advantages: Advantages, group_size: int) -> Tensor:
        return candidates(advantages)

    def working(self, advantages: Advantages, units: Tensor) -> Tensor:
        """Without KL an advantage of 0 makes a loss of 0; with it, the reference pulls at every candidate."""
        return units if self.kl_coefficient else units[advantages.values_B[units].flatten() != 0]

    def steps(self, policy: PipelinePolicy, rollout: Rollout) -> int:
        return len(rollout.step_indices)

    def surrogate(self, step: Step, advantages_B: Tensor) -> ClippedLoss:
        return clipped_surrogate(self.log_ratio(step), advantages_B, self.clip_range)

    def loss(self, policy: PipelinePolicy, batch: Microbatch) -> tuple[Tensor, dict[str, Tensor]]:
        rollout, rows = batch.rollout, batch.units.flatten()
        now = policy.replay(rollout, rows, batch.step)
        step = _against(now, rollout.log_probs_BT[rows, batch.step], rollout.means_BTD[rows, batch.step])
        surrogate = self.surrogate(step, batch.advantages.values_B[rows].to(step.log_probs_B))
        loss = surrogate.loss * self.weight(step)
        log = {
            "policy/ratio": surrogate.ratio,
            "policy/clip_fraction": surrogate.clip_fraction,
            "policy/approx_kl": surrogate.approx_kl,
        }
        if self.kl_coefficient or batch.measure_kl:
            with torch.no_grad(), policy.adapter.reference():
                reference = policy.replay(rollout, rows, batch.step)
            step = _against(now, reference.log_probs_B, reference.mean)
            if self.kl_coefficient:
                loss = loss + self.kl_coefficient * self.kl(step).mean()
            log["policy/kl"] = step_kl(step).mean().detach()
        return loss, log


class FlowDPPO(PolicyGradient):
    """Flow-DPPO (arXiv 2606.11025): in place of the clip, candidates are held back by the exact KL of the step to the policy
    that drew them.

    Args:
        kl_threshold: of that KL, nats a dimension; the others are those of `PolicyGradient`.
    """

    def __init__(
        self,
        *,
        log_ratio: Callable[[Step], Tensor],
        weight: Callable[[Step], float],
        kl_threshold: float,
        kl_coefficient: float,
        kl: Callable[[Step], Tensor],
    ) -> None:
        super().__init__(log_ratio=log_ratio, weight=weight, clip_range=math.inf, kl_coefficient=kl_coefficient, kl=kl)
        self.kl_threshold = kl_threshold

    def parity(self, policy: PipelinePolicy, rollout: Rollout) -> float | None:
        return check_parity(policy, rollout, None, self.kl_threshold)

    def surrogate(self, step: Step, advantages_B: Tensor) -> ClippedLoss:
        kl_B = step_kl(step).detach()
        return divergence_masked_surrogate(self.log_ratio(step), advantages_B, kl_B, self.kl_threshold)


def _against(now: ReplayedStep, log_probs_B: Tensor, mean: Tensor) -> Step:
    return Step(now.log_probs_B, now.mean, now.std, log_probs_B, mean, now.dt)
