"""The algorithm, top to bottom: prompts -> candidates -> rewards -> advantages -> clipped updates by exact replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from arr_rpo.algorithm.gaussian import gaussian_kl
from arr_rpo.algorithm.losses import clipped_surrogate
from arr_rpo.algorithm.settings import Algorithm
from arr_rpo.policy.parity import check_parity
from arr_rpo.policy.pipeline import PipelinePolicy, generator
from arr_rpo.types import Prompt, Rewards, Rollout, UserError


class RPOModule(pl.LightningModule):
    """Rubric Policy Optimization (arXiv 2605.08354) of a diffusion pipeline.

    The judge is no part of it: a callback sets `judge_rewards`, so that no optimizer, parameter count or checkpoint
    knows the judge. Checkpoints hold the trained weights, the optimizer and the counters.
    """

    def __init__(
        self,
        *,
        policy: PipelinePolicy,
        algorithm: Algorithm,
        optimizer: Callable[..., torch.optim.Optimizer],
        lr_schedule: Callable[[float], float],
        seed: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = False  # the frozen base is not in the checkpoint
        self.policy, self.algorithm, self.seed = policy, algorithm, seed
        self._make_optimizer, self._lr_schedule = optimizer, lr_schedule
        self.judge_rewards: Callable[[Rollout], Rewards] | None = None
        self.replay_floor: float | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._make_optimizer(self.policy.adapter.parameters().values())

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Prompts are text: nothing to move."""
        return batch

    def training_step(self, batch: tuple[int, tuple[Prompt, ...]], batch_idx: int) -> None:
        update, prompts = batch
        if self.judge_rewards is None:
            raise UserError("no judge supplies rewards: add the callback `rubric_reward` to the experiment")
        rollout = self.policy.rollout(prompts, self.algorithm.group_size, seed=(self.seed, update, self.global_rank))
        if self.replay_floor is None:
            self.replay_floor = check_parity(self.policy, rollout, self.algorithm.clip_range)
            self.print(f"replay parity: log-probabilities agree within {self.replay_floor:.1e} nats a dimension")
        learning_rate = self.set_learning_rate(update / self.trainer.num_training_batches)
        rewards = self.judge_rewards(rollout)
        advantages_B = self.advantages(rewards)
        logs: dict[str, Any] = {"reward/advantage_abs": advantages_B.abs().mean(), "learning_rate": learning_rate}
        self.log_dict({**self.update(rollout, advantages_B), **logs})

    def set_learning_rate(self, done: float) -> float:
        """The optimizer's initial rate times the schedule's factor when a share `done` of the run is behind."""
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * self._lr_schedule(done)
        return float(group["lr"])

    def advantages(self, rewards: Rewards) -> Tensor:
        """(B,) advantages; exactly 0 where the judge had nothing to say."""
        group = (-1, self.algorithm.group_size)
        return self.algorithm.advantage(rewards.values_B.view(group), rewards.valid_B.view(group)).flatten()

    def update(self, rollout: Rollout, advantages_B: Tensor) -> dict[str, Tensor]:
        """All optimizer steps of one rollout: for each minibatch, its timesteps in random order.

        Candidates with advantage 0 say nothing (and with KL only what the reference says), so they are left out.
        """
        rows = advantages_B.nonzero().flatten()
        if not len(rows):
            return {}
        a = self.algorithm
        order = generator(self.seed, self.global_step)
        rows = rows[torch.randperm(len(rows), generator=order)]
        steps = len(rollout.step_indices)
        logs: list[dict[str, Tensor]] = []
        for minibatch in rows.split(a.minibatch_size):
            timesteps = torch.randperm(steps, generator=order)
            for chunk in timesteps.split(a.steps_per_update or steps):
                measure_kl = a.kl_coefficient > 0 or not logs  # a second forward pass: without a coefficient, once a rollout
                logs.append(self.optimizer_step_on(rollout, minibatch, chunk.tolist(), advantages_B, measure_kl))
        return _means(logs)

    def optimizer_step_on(
        self, rollout: Rollout, rows: Tensor, steps: list[int], advantages_B: Tensor, measure_kl: bool
    ) -> dict[str, Tensor]:
        """One optimizer step: mean over `steps` of the clipped loss plus beta times the exact KL to the reference."""
        a = self.algorithm
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        entries = []
        for step in steps:
            log_probs, mean, std = self.policy.replay(rollout, rows, step)
            surrogate = clipped_surrogate(
                log_probs, rollout.log_probs_BT[rows, step], advantages_B[rows].to(log_probs), a.clip_range
            )
            loss = surrogate.loss
            kl = {}
            if measure_kl:
                with torch.no_grad(), self.policy.adapter.reference():
                    _, reference_mean, _ = self.policy.replay(rollout, rows, step)
                divergence = gaussian_kl(mean, reference_mean, std).mean()
                loss = loss + a.kl_coefficient * divergence
                kl = {"policy/kl": divergence.detach()}
            if not torch.isfinite(loss):
                raise UserError(
                    f"the loss is {loss.item()} at optimizer step {self.global_step} (timestep {rollout.step_indices[step]}): "
                    "lower the learning rate, or resume from the last checkpoint with one"
                )
            self.manual_backward(loss / len(steps))
            entries.append(
                {
                    "loss": loss.detach(),
                    "policy/ratio": surrogate.ratio,
                    "policy/clip_fraction": surrogate.clip_fraction,
                    "policy/approx_kl": surrogate.approx_kl,
                    **kl,
                }
            )
        norm = torch.nn.utils.clip_grad_norm_(list(self.policy.adapter.parameters().values()), a.max_grad_norm)
        optimizer.step()
        return {**_means(entries), "policy/grad_norm": norm}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"policy.transformer.{name}" for name in self.policy.adapter.parameters()}
        checkpoint["state_dict"] = {key: value for key, value in checkpoint["state_dict"].items() if key in trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"policy.transformer.{name}" for name in self.policy.adapter.parameters()}
        if trained != set(checkpoint["state_dict"]):
            raise UserError("the checkpoint holds other weights than this run trains: policy.adapter must be the same")


def _means(entries: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each key over the entries that have it."""
    keys = dict.fromkeys(key for entry in entries for key in entry)
    return {key: torch.stack([entry[key] for entry in entries if key in entry]).mean() for key in keys}
