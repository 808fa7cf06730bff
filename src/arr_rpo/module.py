"""The algorithm, top to bottom: prompts -> candidates -> rewards -> advantages -> updates."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from arr_rpo.noise import Noise, Purpose
from arr_rpo.objective.base import Algorithm, Task
from arr_rpo.objective.finite import NonFiniteError, Snapshot, check_finite
from arr_rpo.policy.adapter import swapped
from arr_rpo.policy.parity import check_parity
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Advantages, Prompt, Rewards, Rollout, UserError


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
        self.bad: NonFiniteError | None = None  # why the last update was skipped
        self.optimizer_steps = 0  # of all updates that counted

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._make_optimizer(self.policy.adapter.parameters().values())

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Prompts are text: nothing to move."""
        return batch

    def on_train_start(self) -> None:
        """Encodes prompts, and gives a restored optimizer the hyper-parameters of this run's config, not of its checkpoint."""
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group.update({key: value for key, value in optimizer.defaults.items() if key in group})
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.policy.cache_prompts(itertools.chain(data.train, data.heldout, data.unseen))

    def training_step(self, batch: tuple[int, tuple[Prompt, ...]], batch_idx: int) -> None:
        """One update, or none at all: where a number is not finite, the weights stay as they were before it."""
        update, prompts = batch
        learning_rate = self.set_learning_rate(update / self.trainer.num_training_batches)
        try:
            logs, self.bad = self.learn(prompts, Noise(self.seed, update)), None
        except NonFiniteError as error:
            logs, self.bad = {}, error
            self.print(f"update {update} is skipped: {error}")
        self.log_dict({**logs, "learning_rate": learning_rate, "policy/skipped": float(self.bad is not None)})

    def learn(self, prompts: tuple[Prompt, ...], noise: Noise) -> dict[str, Any]:
        """Candidates, rewards, advantages, optimizer steps.

        Raises:
            NonFiniteError: a number is not finite; weights and optimizer are what they were.
        """
        if self.judge_rewards is None:
            raise UserError("no judge supplies rewards: add the callback `rubric_reward` to the experiment")
        rollout = self.rollout(prompts, noise)
        for name, tensor in (("latents", rollout.clean_BD), ("log-probabilities", rollout.log_probs_BT)):
            check_finite(f"the rollout's {name}", tensor)
        if self.replay_floor is None and (self.algorithm.objective.clip_range is not None or rollout.step_indices):
            self.replay_floor = check_parity(self.policy, rollout, self.algorithm.objective.clip_range)
            self.print(f"replay parity: log-probabilities agree within {self.replay_floor:.1e} nats a dimension")
        rewards = self.judge_rewards(rollout)
        check_finite("the rewards", rewards.values_B[rewards.valid_B])
        advantages = self.advantages(rewards)
        check_finite("the advantages", advantages.values_B)
        return {
            **spread(rewards, self.algorithm.group_size),
            "reward/advantage_abs": advantages.values_B.abs().mean(),
            **self.update(rollout, advantages, noise),
        }

    def rollout(self, prompts: tuple[Prompt, ...], noise: Noise) -> Rollout:
        """Candidates by the current weights, or by those that follow them slowly (`old_decay`)."""
        a, parameters = self.algorithm, self.policy.adapter.parameters()
        if not a.objective.needs_old:
            return self.policy.rollout(prompts, a.group_size, noise)
        decay = a.old_decay(noise.update) if a.old_decay and self.old else 0.0
        self.old = {
            name: p.detach().clone() if decay == 0 else torch.lerp(p.detach(), self.old[name].to(p.device), decay)
            for name, p in parameters.items()
        }
        with swapped(parameters, self.old):
            return self.policy.rollout(prompts, a.group_size, noise)

    def set_learning_rate(self, done: float) -> float:
        """The optimizer's initial rate times the schedule's factor when a share `done` of the run is behind."""
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * self._lr_schedule(done)
        return float(group["lr"])

    def advantages(self, rewards: Rewards) -> Advantages:
        """Of each candidate; what the judge had nothing to say of stays masked."""
        group = (-1, self.algorithm.group_size)
        values = self.algorithm.advantage(rewards.values_B.view(group), rewards.valid_B.view(group)).flatten()
        return Advantages(values, rewards.valid_B)

    def update(self, rollout: Rollout, advantages: Advantages, noise: Noise) -> dict[str, Tensor]:
        """All optimizer steps of one rollout: in each epoch, for each minibatch, its timesteps in random order.

        Raises:
            NonFiniteError: a loss, a gradient or a weight is not finite; weights and optimizer are what they were.
        """
        a = self.algorithm
        units = a.objective.units(advantages, a.group_size)
        before = Snapshot(self.policy.adapter.parameters(), self.optimizers())
        logs: list[dict[str, Tensor]] = []
        try:
            for epoch in range(a.epochs):
                order = noise.generator(Purpose.ORDER, epoch)
                shuffled = units[torch.randperm(len(units), generator=order).to(units.device)]
                for minibatch in shuffled.split(max(1, a.minibatch_size // units.shape[1])):
                    timesteps = torch.randperm(a.objective.steps(self.policy, rollout), generator=order)
                    if not len(working := a.objective.working(advantages, minibatch)):
                        continue
                    for chunk in timesteps.split(a.steps_per_update or len(timesteps)):
                        first = not logs  # a divergence that is only logged is measured once a rollout
                        tasks = [
                            Task(rollout, part, int(step), epoch, advantages, self.old, noise, first)
                            for step in chunk
                            for part in working.split(max(1, (a.microbatch_size or a.minibatch_size) // units.shape[1]))
                        ]
                        logs.append(self.optimizer_step_on(tasks, len(minibatch) * len(chunk)))
            for name, p in self.policy.adapter.parameters().items():
                check_finite(f"the weight {name}", p.detach())
        except NonFiniteError:
            before.restore()
            raise
        self.optimizer_steps += len(logs)
        return _means(logs)

    def optimizer_step_on(self, tasks: list[Task], count: int) -> dict[str, Tensor]:
        """One optimizer step on the mean loss over `count` units and steps; those not among the tasks have no gradient."""
        a = self.algorithm
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        entries = []
        for task in tasks:
            loss, log = a.objective.loss(self.policy, task)
            check_finite(f"the loss of step {task.step}", loss.detach())
            self.manual_backward(loss * (len(task.units) / count))
            entries.append({"loss": loss.detach(), **log})
        parameters = self.policy.adapter.parameters()
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), a.max_grad_norm)
        if not torch.isfinite(norm):
            for name, p in parameters.items():
                if p.grad is not None:
                    check_finite(f"the gradient of {name}", p.grad)  # clipping by such a norm made all of them NaN
        optimizer.step()
        return {**_means(entries), "policy/grad_norm": norm}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"policy.transformer.{name}" for name in self.policy.adapter.parameters()}
        checkpoint["state_dict"] = {key: value for key, value in checkpoint["state_dict"].items() if key in trained}
        checkpoint |= {"old": self.old, "replay_floor": self.replay_floor, "optimizer_steps": self.optimizer_steps}
        for name, tensor in [*checkpoint["state_dict"].items(), *self.old.items()]:
            check_finite(f"the weight {name}", tensor)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"policy.transformer.{name}" for name in self.policy.adapter.parameters()}
        if trained != set(checkpoint["state_dict"]):
            raise UserError("the checkpoint holds other weights than this run trains: policy.adapter must be the same")
        self.old, self.replay_floor = checkpoint["old"], checkpoint["replay_floor"]
        self.optimizer_steps = checkpoint["optimizer_steps"]


def spread(rewards: Rewards, group_size: int) -> dict[str, Tensor]:
    """Share of the groups whose valid rewards are all alike, which teach nothing, and the mean standard deviation in one."""
    values, valid = rewards.values_B.view(-1, group_size).float(), rewards.valid_B.view(-1, group_size)
    mean = values.where(valid, 0.0).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)
    std = (((values - mean) ** 2).where(valid, 0.0).sum(1) / valid.sum(1).clamp(min=1)).sqrt()
    return {"reward/silent_groups": (std == 0).float().mean(), "reward/group_std": std.mean()}


def _means(entries: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each key over the entries that have it."""
    keys = dict.fromkeys(key for entry in entries for key in entry)
    return {key: torch.stack([entry[key] for entry in entries if key in entry]).mean() for key in keys}
