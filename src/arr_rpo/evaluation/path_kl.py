"""How far a policy has moved from its reference."""

from __future__ import annotations

from collections.abc import Sequence

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
    mine = prompts[ranks.share(len(prompts))]
    parts = [mine or prompts[:1]] if policy.sharded else _of_one_size(mine)  # with shards each takes part, if in vain
    found = [(float(len(part) if mine else 0), {"kl": _kl(policy, part, seed, sampler)}) for part in parts]
    return ranks.means(found or [(0.0, {"kl": 0.0})])["kl"]


def _of_one_size(prompts: Sequence[Prompt]) -> list[tuple[Prompt, ...]]:
    """In parts whose sources have one size: some pipelines draw by it, and a rollout is of one shape."""
    parts: dict[tuple[int, int] | None, list[Prompt]] = {}
    for prompt in prompts:
        parts.setdefault(prompt.source.size if prompt.source else None, []).append(prompt)
    return [*map(tuple, parts.values())]


def _kl(policy: PipelinePolicy, prompts: tuple[Prompt, ...], seed: int, sampler: Sampler) -> float:
    rollout = policy.rollout(prompts, 1, Noise(seed, 0), sampler=sampler, keys=[prompt.id for prompt in prompts])
    rows = torch.arange(len(prompts))
    total = 0.0
    with policy.adapter.reference():
        for step in range(len(rollout.step_indices)):
            mean, reference = rollout.means_BTD[:, step], policy.replay(rollout, rows, step, sampler)
            total += float(gaussian_kl(mean, reference.mean, reference.std).mean()) * mean[0].numel()
    return total
