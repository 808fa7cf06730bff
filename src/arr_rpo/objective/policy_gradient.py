"""PPO's family: the recorded stochastic steps again, their ratio clipped, with the exact KL of each step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from arr_rpo.algorithm.gaussian import gaussian_kl
from arr_rpo.algorithm.losses import Step, clipped_surrogate
from arr_rpo.objective.base import Task, candidates
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Advantages, Rollout


class PolicyGradient:
    """Clipped surrogate plus `kl_coefficient` times the Gaussian KL of the step to the reference model.

    Args:
        log_ratio: `algorithm.losses.log_ratio`, or `normalised_log_ratio` (GRPO-Guard).
        weight: of a step's loss, `plain_weight` or `inverse_dt` (GRPO-Guard).
        clip_range: eps, in the units of `log_ratio`.
        kl_coefficient: beta, of the KL in nats a dimension.
    """

    needs_old = False

    def __init__(
        self,
        *,
        log_ratio: Callable[[Step], Tensor],
        weight: Callable[[Step], float],
        clip_range: float,
        kl_coefficient: float,
    ) -> None:
        self.log_ratio, self.weight = log_ratio, weight
        self.clip_range: float | None = clip_range
        self.kl_coefficient = kl_coefficient

    def units(self, advantages: Advantages, group_size: int) -> Tensor:
        return candidates(advantages)

    def working(self, advantages: Advantages, units: Tensor) -> Tensor:
        """Without KL an advantage of 0 makes a loss of 0; with it, the reference pulls at every candidate."""
        return units if self.kl_coefficient else units[advantages.values_B[units].flatten() != 0]

    def steps(self, policy: PipelinePolicy, rollout: Rollout) -> int:
        return len(rollout.step_indices)

    def loss(self, policy: PipelinePolicy, task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        rollout, rows = task.rollout, task.units.flatten()
        now = policy.replay(rollout, rows, task.step)
        step = Step(
            now.log_probs_B,
            now.mean,
            now.std,
            rollout.log_probs_BT[rows, task.step],
            rollout.means_BTD[rows, task.step],
            now.dt,
        )
        assert self.clip_range is not None
        advantages_B = task.advantages.values_B[rows].to(step.log_probs_B)
        surrogate = clipped_surrogate(self.log_ratio(step), advantages_B, self.clip_range)
        loss = surrogate.loss * self.weight(step)
        log = {
            "policy/ratio": surrogate.ratio,
            "policy/clip_fraction": surrogate.clip_fraction,
            "policy/approx_kl": surrogate.approx_kl,
        }
        if self.kl_coefficient or task.measure_kl:
            with torch.no_grad(), policy.adapter.reference():
                reference = policy.replay(rollout, rows, task.step)
            kl = gaussian_kl(now.mean, reference.mean, now.std).mean()
            loss = loss + self.kl_coefficient * kl
            log["policy/kl"] = kl.detach()
        return loss, log
