"""The gate: a replayed rollout must have ratio 1, or nothing that follows means anything."""

from __future__ import annotations

from collections.abc import Callable

import torch

from arr_rpo import ranks
from arr_rpo.formulas.gaussian import gaussian_kl
from arr_rpo.formulas.losses import Step, log_ratio
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Rollout, UserError

LIMIT = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 2e-2}  # nats a dimension; a wrong replay is off by far more


def replay_floor(policy: PipelinePolicy, rollout: Rollout, rows: int = 4) -> float:
    """Largest |log-prob replayed - recorded| over all recorded steps of the first candidates, in nats a dimension; of the very
    first one also with gradients, as it is trained: gradient checkpointing takes another way through a model."""
    chosen = torch.arange(min(rows, len(rollout.images)))

    def difference(candidates: torch.Tensor, step: int) -> torch.Tensor:
        return policy.replay(rollout, candidates, step).log_probs_B.detach() - rollout.log_probs_BT[candidates, step]

    def largest(candidates: torch.Tensor) -> float:
        return max(float(difference(candidates, step).abs().max()) for step in range(len(rollout.step_indices)))

    with torch.no_grad():
        floor = largest(chosen)
    with torch.enable_grad():
        return max(floor, largest(chosen[:1]))


@torch.no_grad()
def ratio_floor(policy: PipelinePolicy, rollout: Rollout, log_ratio: Callable[[Step], torch.Tensor], rows: int = 4) -> float:
    """Largest |log ratio| of a replayed step to the recorded one, of the same candidates, in the units of `log_ratio`."""
    chosen = torch.arange(min(rows, len(rollout.images)))
    largest = 0.0
    for t in range(len(rollout.step_indices)):
        now = policy.replay(rollout, chosen, t)
        old = rollout.log_probs_BT[chosen, t], rollout.means_BTD[chosen, t]
        largest = max(largest, float(log_ratio(Step(now.log_probs_B, now.mean, now.std, *old, now.dt)).abs().max()))
    return largest


@torch.no_grad()
def kl_floor(policy: PipelinePolicy, rollout: Rollout, rows: int = 4) -> float:
    """Largest KL of a replayed step to the recorded one, of the same candidates, in nats a dimension."""
    chosen = torch.arange(min(rows, len(rollout.images)))
    steps = [policy.replay(rollout, chosen, step) for step in range(len(rollout.step_indices))]
    return max(float(gaussian_kl(s.mean, rollout.means_BTD[chosen, t], s.std).max()) for t, s in enumerate(steps))


def check_parity(
    policy: PipelinePolicy,
    rollout: Rollout,
    clip_range: float | None,
    kl_threshold: float | None = None,
    log_ratio: Callable[[Step], torch.Tensor] = log_ratio,
) -> float:
    """The measured floor of log-probabilities. clip_range: in the units of `log_ratio`.

    Raises:
        UserError: no step was recorded, the floor is that of a wrong replay, or the clip range or threshold lies below its own.
    """
    if not rollout.step_indices:
        raise UserError(
            f"sampler.eta={policy.sampler.eta:g}: no step of the rollout is stochastic, so there is nothing to learn from. "
            "Take sampler=flow_sde, or an algorithm of the forward process (diffusion_nft, flow_dpo)."
        )
    floor = float(torch.tensor(ranks.gathered(replay_floor(policy, rollout))).max())  # NaN, if any is
    computes: torch.dtype = policy.pipe.transformer.dtype  # which may be coarser than the latents
    limit = max(LIMIT[rollout.latents_BTD.dtype], LIMIT.get(computes, 0.0))
    if not floor <= limit:
        raise UserError(
            f"replay parity: the replayed log-probability differs from the recorded one by {floor:.1e} nats a dimension "
            f"(limit {limit:.0e} for latents of {rollout.latents_BTD.dtype} and a model of {computes}). The pipeline's step "
            "depends on something that is not replayed: dropout, a random conditioning, or a scheduler that is not flow "
            "matching; or the model computes something else with gradients: try policy.gradient_checkpointing=false."
        )
    if clip_range is not None and clip_range <= (ratio := max(ranks.gathered(ratio_floor(policy, rollout, log_ratio)))):
        raise UserError(
            f"algorithm.objective.clip_range={clip_range:g} lies below the replay floor {ratio:.1e}: numerical noise alone "
            "would clip. Raise clip_range, or use policy.dtype=float32."
        )
    if kl_threshold is not None and kl_threshold <= (lowest := max(ranks.gathered(kl_floor(policy, rollout)))):
        raise UserError(
            f"algorithm.objective.kl_threshold={kl_threshold:g} lies below the KL {lowest:.1e} of a replayed step to the "
            "recorded one: numerical noise alone would hold candidates back. Raise kl_threshold, or use policy.dtype=float32."
        )
    return floor
