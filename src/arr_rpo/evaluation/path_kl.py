"""How far a policy has moved from its reference."""

from __future__ import annotations

import torch

from arr_rpo import ranks
from arr_rpo.formulas.gaussian import gaussian_kl
from arr_rpo.noise import Noise
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.policy.sampler import Sampler
from arr_rpo.types import Prompt


@torch.no_grad()
def path_kl(policy: PipelinePolicy, prompts: tuple[Prompt, ...], seed: int, sampler: Sampler) -> float:
    """KL of the policy's stochastic sampling path from the reference's, in nats an image: the exact KL of each step,
    summed over dimensions and steps, averaged over one candidate of each prompt, whose path is that of its id. Each process
    of a run takes its share of the prompts."""
    share = ranks.share(len(prompts))
    mine = prompts[share] or prompts[:1]  # in vain
    rollout = policy.rollout(mine, 1, Noise(seed, 0), sampler=sampler, keys=[prompt.id for prompt in mine])
    rows = torch.arange(len(mine))
    total = 0.0
    with policy.adapter.reference():
        for step in range(len(rollout.step_indices)):
            mean, reference = rollout.means_BTD[:, step], policy.replay(rollout, rows, step, sampler)
            total += float(gaussian_kl(mean, reference.mean, reference.std).mean()) * mean[0].numel()
    return ranks.means([(share.stop - share.start, {"kl": total})])["kl"]
