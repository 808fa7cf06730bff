"""The algorithm, top to bottom: prompts -> candidates -> rewards -> advantages -> updates."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from arr_rpo.objective.base import Algorithm, Task
from arr_rpo.policy.adapter import swapped
from arr_rpo.policy.parity import check_parity
from arr_rpo.policy.pipeline import PipelinePolicy, generator
from arr_rpo.types import Prompt, Rewards, Rollout, UserError


class RPOModule(pl.LightningModule):
    """Rubric Policy Optimization (arXiv 2605.08354) of a diffusion pipeline, and its neighbours: what an update minimises is
    the algorithm's objective.

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
        self.old: dict[str, Tensor] = {}  # the weights that roll out, where the objective compares with them

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._make_optimizer(self.policy.adapter.parameters().values())

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Prompts are text: nothing to move."""
        return batch

    def on_train_start(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.policy.cache_prompts(itertools.chain(data.train, data.heldout, data.unseen))

    def training_step(self, batch: tuple[int, tuple[Prompt, ...]], batch_idx: int) -> None:
        update, prompts = batch
        if self.judge_rewards is None:
            raise UserError("no judge supplies rewards: add the callback `rubric_reward` to the experiment")
        rollout = self.rollout(prompts, update)
        if self.replay_floor is None and (self.algorithm.objective.clip_range is not None or rollout.step_indices):
            self.replay_floor = check_parity(self.policy, rollout, self.algorithm.objective.clip_range)
            self.print(f"replay parity: log-probabilities agree within {self.replay_floor:.1e} nats a dimension")
        learning_rate = self.set_learning_rate(update / self.trainer.num_training_batches)
        rewards = self.judge_rewards(rollout)
        advantages_B = self.advantages(rewards)
        logs: dict[str, Any] = {"reward/advantage_abs": advantages_B.abs().mean(), "learning_rate": learning_rate}
        self.log_dict({**self.update(rollout, advantages_B), **logs})

    def rollout(self, prompts: tuple[Prompt, ...], update: int) -> Rollout:
        """Candidates by the current weights, or by those that follow them slowly (`old_decay`)."""
        a, seed = self.algorithm, (self.seed, update, self.global_rank)
        parameters = self.policy.adapter.parameters()
        if not a.objective.needs_old:
            return self.policy.rollout(prompts, a.group_size, seed, update=update)
        decay = a.old_decay(update) if a.old_decay and self.old else 0.0
        self.old = {
            name: p.detach().clone() if decay == 0 else torch.lerp(p.detach(), self.old[name].to(p.device), decay)
            for name, p in parameters.items()
        }
        with swapped(parameters, self.old):
            return self.policy.rollout(prompts, a.group_size, seed, update=update)

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
        """All optimizer steps of one rollout: in each epoch, for each minibatch, its timesteps in random order."""
        a = self.algorithm
        units = a.objective.units(advantages_B, a.group_size)
        if not len(units):
            return {}
        order = generator(self.seed, self.global_step)
        logs: list[dict[str, Tensor]] = []
        for _ in range(a.epochs):
            shuffled = units[torch.randperm(len(units), generator=order)]
            for minibatch in shuffled.split(max(1, a.minibatch_size // units.shape[1])):
                timesteps = torch.randperm(a.objective.steps(self.policy, rollout), generator=order)
                for chunk in timesteps.split(a.steps_per_update or len(timesteps)):
                    first = not logs  # a divergence that is only logged is measured once a rollout
                    logs.append(self.optimizer_step_on(rollout, minibatch, chunk.tolist(), advantages_B, order, first))
        return _means(logs)

    def optimizer_step_on(
        self,
        rollout: Rollout,
        units: Tensor,
        steps: list[int],
        advantages_B: Tensor,
        noise: torch.Generator,
        measure_kl: bool,
    ) -> dict[str, Tensor]:
        """One optimizer step on the mean loss over `steps` and over microbatches of `units`."""
        a = self.algorithm
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        entries = []
        for step in steps:
            for part in units.split(max(1, (a.microbatch_size or a.minibatch_size) // units.shape[1])):
                task = Task(rollout, part, step, advantages_B, self.old, noise, measure_kl)
                loss, log = a.objective.loss(self.policy, task)
                if not torch.isfinite(loss):
                    raise UserError(
                        f"the loss is {loss.item()} at optimizer step {self.global_step} (step {step} of the objective): "
                        "lower the learning rate, or resume from the last checkpoint with one"
                    )
                self.manual_backward(loss * (len(part) / len(units) / len(steps)))
                entries.append({"loss": loss.detach(), **log})
        norm = torch.nn.utils.clip_grad_norm_(list(self.policy.adapter.parameters().values()), a.max_grad_norm)
        optimizer.step()
        return {**_means(entries), "policy/grad_norm": norm}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"policy.transformer.{name}" for name in self.policy.adapter.parameters()}
        checkpoint["state_dict"] = {key: value for key, value in checkpoint["state_dict"].items() if key in trained}
        checkpoint["old"] = self.old

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"policy.transformer.{name}" for name in self.policy.adapter.parameters()}
        if trained != set(checkpoint["state_dict"]):
            raise UserError("the checkpoint holds other weights than this run trains: policy.adapter must be the same")
        self.old = checkpoint["old"]


def _means(entries: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each key over the entries that have it."""
    keys = dict.fromkeys(key for entry in entries for key in entry)
    return {key: torch.stack([entry[key] for entry in entries if key in entry]).mean() for key in keys}
