"""What a user sees before the first update: what is trained, by whom it is judged, how long, and where to look."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from arr_rpo.callbacks.rubric_reward import RubricReward
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.module import RPOModule
from arr_rpo.run.described import class_of, reward_of


def show(config: DictConfig, trainer: Any, module: Any, data: Any, begun_at: int) -> None:
    """Prints it; nothing of a recipe, which has no judge and no prompts."""
    if not isinstance(module, RPOModule) or not isinstance(data, PromptDataModule):
        return
    reads = any(isinstance(c, RubricReward) and c.reward.uses_rubric for c in trainer.callbacks)
    for name, value in _rows(config, module, data, reads, begun_at):
        print(f"{name:<16}{value}", flush=True)


def _rows(
    config: DictConfig, module: RPOModule, data: PromptDataModule, reads_rubrics: bool, begun_at: int
) -> list[tuple[str, str]]:
    policy, algorithm = module.policy, module.algorithm
    trained = sum(p.numel() for p in policy.adapter.parameters().values())
    whole = sum(p.numel() for p in policy.transformer.parameters())
    reward = (config.callbacks or {}).get("rubric_reward") or {}
    judge = reward.get("judge") or {}
    rubric = class_of(reward.get("rubric") or {}) if reads_rubrics else "none"
    pictures = config.data.candidates_per_update
    start = f" from update {begun_at} on" if begun_at else ""
    return [
        ("experiment", f"{config.name}, seed {config.seed}"),
        ("policy", f"{type(policy.pipe).__name__} {config.policy.checkpoint}, {trained:,} of {whole:,} weights trained"),
        ("judge", f"{class_of(judge)} {(judge.get('model') or {}).get('checkpoint', '')}".rstrip()),
        ("rubric, reward", f"{rubric}, {reward_of(reward.get('reward') or {})}"),
        ("objective", f"{type(algorithm.objective).__name__}, groups of {algorithm.group_size}"),
        ("prompts", f"{len(data.train):,} of {config.data.train}, measured on {len(data.heldout):,} of {config.data.heldout}"),
        ("updates", f"{config.data.updates} of {pictures} pictures{start}"),
        ("folder", f"{config.run_dir}    (tensorboard --logdir {config.run_dir})"),
    ]
