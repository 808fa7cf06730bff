"""The algorithm, top to bottom: prompts -> candidates -> rewards -> advantages -> updates."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from PIL.Image import Image
from torch import Tensor

from arr_rpo import ranks
from arr_rpo.algorithm.base import Algorithm, Microbatch
from arr_rpo.algorithm.finite import NonFiniteError, Snapshot, not_finite, raise_together
from arr_rpo.algorithm.gradients import add_up
from arr_rpo.formulas.advantages import group_std
from arr_rpo.noise import Noise, Purpose
from arr_rpo.policy.adapter import swapped
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.policy.sharding import assign, like, saved, whole
from arr_rpo.run.clock import StageClock
from arr_rpo.types import Advantages, Prompt, Rewards, Rollout, UserError

Log = tuple[float, Mapping[str, Tensor | float]]  # a weight, and what is logged with it


class RPOModule(pl.LightningModule):
    """Rubric Policy Optimization (arXiv 2605.08354) of a diffusion pipeline, and its neighbours (GRPO, DiffusionNFT, Flow-DPO,
    ...): what all have in common is here, and what an update minimises is the algorithm's objective (`arr_rpo.algorithm`).

    The judge is no part of it: a callback sets `judge_rewards`, so that no optimizer, parameter count or checkpoint
    knows the judge. Checkpoints hold the trained weights, the optimizer and the counters.

    Of several processes each draws, judges and trains on whole groups of its own; rewards, advantages and the order of what is
    learned all of them have, and decisions are taken by all at once (`ranks`).
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
        self.judge_rewards: Callable[[Rollout, tuple[Prompt, ...]], Rewards] | None = None
        self.drawn: Callable[[Sequence[Image]], None] = lambda images: None  # told of pictures as they are drawn
        self.replay_floor: float | None = None
        self._gated = False  # since this start
        self.old: dict[str, Tensor] = {}  # the weights that roll out, where the objective compares with them
        self.between_steps: Callable[[], None] = lambda: None  # where a run may be asked to save or to stop
        self.metrics: dict[str, float] = {}  # of the present update alone
        self.clock = StageClock()
        self.bad: NonFiniteError | None = None  # why the last update was skipped
        self.inputs: dict[str, Tensor] = {}  # of an update that was skipped
        self._before: Snapshot | None = None  # weights and optimizer before an update under way, once they may have moved
        self._old_before = self.old

    def configure_model(self) -> None:
        """Puts the weights into shards where the strategy has them so, and starts all processes from the same ones."""
        if getattr(self.trainer.strategy, "shards", False):
            self.policy.shard(self.trainer.strategy.root_device.type)
        for p in self.policy.adapter.parameters().values() if ranks.world() > 1 and self.policy.adapter.light else ():
            torch.distributed.broadcast(p.data, 0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """With torch's fused kernels, one for all weights, where the optimizer has them and the config does not say."""
        known = inspect.signature(self._make_optimizer).parameters
        said = any(known[name].default for name in ("foreach", "differentiable") if name in known)
        fused = {"fused": True} if "fused" in known and known["fused"].default is None and not said else {}
        return self._make_optimizer(self.policy.adapter.parameters().values(), **fused)

    def on_train_start(self) -> None:
        """Encodes prompts, and gives a restored optimizer the hyper-parameters of this run's config, not of its checkpoint."""
        optimizer: Any = self.optimizers()
        named = getattr(self._make_optimizer, "keywords", {})  # others may be the optimizer's state, as Prodigy's
        for group in optimizer.param_groups:
            group.update({key: value for key, value in optimizer.defaults.items() if key in group and key in named})
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.policy.cache_prompts(itertools.chain(data.train, data.heldout, data.unseen))

    def training_step(self, batch: tuple[int, tuple[Prompt, ...]], batch_idx: int) -> None:
        """One update, or none at all: where a number is not finite, the weights stay as they were before it."""
        update, prompts = batch
        self.metrics, self.bad, self.inputs, self._old_before = {}, None, {}, self.old
        self.note({"learning_rate": self.set_learning_rate(update / self.trainer.num_training_batches)})
        self.note(dict.fromkeys(("policy/optimizer_steps", "judge/images", "judge/calls"), 0.0))
        try:
            silent = self.learn(prompts, Noise(self.seed, update))
            self.inputs = {}
            self.trainer.datamodule.heard(prompts, silent)  # type: ignore[attr-defined]
        except NonFiniteError as error:
            self.bad, self.old = error, self._old_before
            self.print(f"update {update} is skipped: {error}")
        self.note({"policy/skipped": float(self.bad is not None)})

    def note(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Adds to what is recorded of this update."""
        self.metrics |= {name: float(value) for name, value in metrics.items()}

    def learn(self, prompts: tuple[Prompt, ...], noise: Noise) -> list[bool | None]:
        """Candidates, rewards, advantages, optimizer steps. Returns for each prompt whether all its candidates got one reward;
        None where fewer than two got any.

        Raises:
            NonFiniteError: a number is not finite; weights and optimizer are what they were.
        """
        if self.judge_rewards is None:
            raise UserError("no judge supplies rewards: add the callback `rubric_reward` to the experiment")
        alone = contextlib.nullcontext() if self.policy.sharded else ranks.together()  # else it waits for others inside
        with self.clock.stage("rollout"), alone:
            rollout = self.rollout(prompts, noise)
        self.check("the rollout's latents", rollout.clean_BD)
        self.check("the rollout's log-probabilities", rollout.log_probs_BT)
        if not self._gated:
            self.gate(rollout)
        if any(ranks.gathered(not self.policy.knows_short_way(rollout))):
            self.policy.find_short_way(rollout)
            if isinstance(self.policy.short_way, str):
                self.print(f"each step of training calls the whole pipeline: {self.policy.short_way}")
        self.between_steps()
        with self.clock.stage("judging"):
            rewards = self.judge_rewards(rollout, prompts)
        self.between_steps()
        self.check("the rewards", rewards.values_B.where(rewards.valid_B, 0.0))
        advantages = self.advantages(rewards)
        self.check("the advantages", advantages.values_B)
        valid_PG = rewards.valid_B.view(-1, self.algorithm.group_size)
        std_P = group_std(rewards.values_B.view_as(valid_PG), valid_PG)
        silent_P = std_P == 0
        self.note({"reward/silent_groups": silent_P.float().mean(), "reward/group_std": std_P.mean()})
        self.note({"reward/advantage_abs": advantages.values_B.abs().mean()})
        with self.clock.stage("update"):
            self.note(self.update(rollout, advantages, noise))
        graded_P = valid_PG.sum(1) > 1
        return [silent if graded else None for silent, graded in zip(silent_P.tolist(), graded_P.tolist(), strict=True)]

    def gate(self, rollout: Rollout) -> None:
        """The gate of each start, also of a run that goes on: on another machine, or with gradient checkpointing, a replay may
        be another. What is recorded is the first start's floor."""
        if (floor := self.algorithm.objective.parity(self.policy, rollout)) is not None:
            self.print(f"replay parity: log-probabilities agree within {floor:.1e} nats a dimension")
            self.replay_floor = floor if self.replay_floor is None else self.replay_floor
        self._gated = True

    def check(self, name: str, tensor: Tensor) -> None:
        """Keeps what the update works on for as long as it may turn out bad; raises NonFiniteError where it already is, in
        whatever process."""
        self.inputs[name] = tensor
        raise_together(not_finite({name: tensor}))

    def rollout(self, prompts: tuple[Prompt, ...], noise: Noise) -> Rollout:
        """Candidates for this process's share of the prompts, by the current weights, or by those that follow them slowly
        (`old_decay`)."""
        a, parameters, mine = self.algorithm, self.policy.adapter.parameters(), ranks.share(len(prompts))
        if not a.objective.needs_old:
            return self.policy.rollout(prompts[mine], a.group_size, noise, first=mine.start, drawn=self.drawn)
        decay = a.old_decay(noise.update) if a.old_decay and self.old else 0.0
        self.old = {
            name: p.detach().clone() if decay == 0 else torch.lerp(p.detach(), like(self.old[name], p), decay)
            for name, p in parameters.items()
        }
        with swapped(parameters, self.old):
            return self.policy.rollout(prompts[mine], a.group_size, noise, first=mine.start, drawn=self.drawn)

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

    def update(self, rollout: Rollout, advantages: Advantages, noise: Noise) -> dict[str, float]:
        """All optimizer steps of an update: in each epoch, for each minibatch, its timesteps in random order.

        rollout: this process's. advantages: of the candidates of all processes.

        Raises:
            NonFiniteError: a loss, a gradient or a weight is not finite; weights and optimizer are what they were.
        """
        a = self.algorithm
        units = a.objective.units(advantages, a.group_size)
        self._before = Snapshot(self.policy.adapter.parameters(), self.optimizers())
        logs: list[Log] = []
        steps = 0
        try:
            for epoch in range(a.epochs):
                order = noise.generator(Purpose.ORDER, epoch)
                shuffled = units[torch.randperm(len(units), generator=order).to(units.device)]
                for minibatch in shuffled.split(max(1, (a.minibatch_size or units.numel()) // units.shape[1])):
                    timesteps = torch.randperm(a.objective.steps(self.policy, rollout), generator=order)
                    with self.policy.conditioning_kept():
                        for batches in self.batches(rollout, advantages, noise, epoch, minibatch, timesteps):
                            if steps:
                                self.between_steps()
                            elif a.kl_every_n_updates and noise.update % a.kl_every_n_updates == 0:
                                batches[:1] = [batch._replace(measure_kl=True) for batch in batches[:1]]
                            logs += self.optimizer_step_on(batches)
                            steps += 1
            weights = {f"the weight {name}": p.detach() for name, p in self.policy.adapter.parameters().items()}
            raise_together(not_finite(weights))
        except NonFiniteError:
            self._before.restore()
            raise
        finally:
            self._before = None
        self.note({"policy/optimizer_steps": steps})
        return ranks.means([(weight, {key: float(value) for key, value in log.items()}) for weight, log in logs])

    def by_process(self, units: Tensor, rows: int) -> Iterator[Tensor]:
        """Of units (n, k) of all processes' `rows` candidates, those of each process, by its own rows."""
        size = self.algorithm.group_size
        for process in range(ranks.world()):
            mine = ranks.share(rows // size, process)
            own = (units[:, 0] >= mine.start * size) & (units[:, 0] < mine.stop * size)
            yield units[own] - mine.start * size

    def batches(
        self, rollout: Rollout, advantages: Advantages, noise: Noise, epoch: int, minibatch: Tensor, timesteps: Tensor
    ) -> Iterator[list[Microbatch]]:
        """This process's backward passes of each optimizer step on a minibatch of all processes; no step where no unit of any
        has a gradient."""
        a = self.algorithm
        if not len(working := a.objective.working(advantages, minibatch)):
            return
        size, first = max(1, (a.microbatch_size or minibatch.numel()) // minibatch.shape[1]), rollout.first * a.group_size
        passes = [units.split(size) if len(units) else () for units in self.by_process(working, len(advantages.values_B))]
        own = [(units, len(units)) for units in passes[ranks.rank()]]
        if self.policy.sharded:  # all processes put its weights together at once: those with less to do make passes in vain
            idle = torch.arange(minibatch.shape[1]).unsqueeze(0).to(minibatch)
            own += [(idle, 0)] * (max(map(len, passes)) - len(own))
        mine = Advantages(*(x[first : first + len(rollout.images)] for x in (advantages.values_B, advantages.valid_B)))
        for chunk in timesteps.split(a.steps_per_update or len(timesteps)):
            count = len(minibatch) * len(chunk)
            yield [
                Microbatch(rollout, units, int(step), epoch, mine, self.old, noise, False, weight / count)
                for step in chunk
                for units, weight in own
            ]

    @contextlib.contextmanager
    def as_before_the_update(self) -> Iterator[None]:
        """Inside, weights, optimizer and old weights are what they were when the update under way began."""
        now, old = Snapshot(self.policy.adapter.parameters(), self.optimizers()), self.old
        if self._before is not None:
            self._before.restore()
        self.old = self._old_before
        try:
            yield
        finally:
            now.restore()
            self.old = old

    def optimizer_step_on(self, batches: list[Microbatch]) -> list[Log]:
        """One optimizer step on the sum of the weighted losses of all processes. Returns what the log is the mean of."""
        a = self.algorithm
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        logs: list[Log] = []
        bad: str | None = None
        for batch in batches:
            loss, log = a.objective.loss(self.policy, batch)
            bad = bad or not_finite({f"the loss of step {batch.step}": loss.detach()})
            self.manual_backward(loss * batch.weight)
            if batch.weight:
                logs.append((len(batch.units), {"loss": loss.detach(), **log}))
        parameters = self.policy.adapter.parameters()
        bad_somewhere = add_up(parameters.values(), bad is not None)
        norm = whole(torch.nn.utils.clip_grad_norm_(list(parameters.values()), a.max_grad_norm))
        if bad_somewhere or not torch.isfinite(norm):  # clipping by such a norm made all gradients NaN
            gradients = {f"the gradient of {name}": p.grad for name, p in parameters.items() if p.grad is not None}
            raise_together(bad or not_finite(gradients))
        optimizer.step()
        return [*logs, (1.0, {"policy/grad_norm": norm})]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Whole weights, so that they are the same under any strategy."""
        trained = {f"policy.transformer.{name}" for name in self.policy.adapter.parameters()}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: saved(value) for key, value in state.items() if key in trained}
        checkpoint |= {"old": {name: saved(old) for name, old in self.old.items()}, "replay_floor": self.replay_floor}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"policy.transformer.{name}" for name in self.policy.adapter.parameters()}
        if trained != set(checkpoint["state_dict"]):
            raise UserError("the checkpoint holds other weights than this run trains: policy.adapter must be the same")
        if self.policy.sharded:
            for name, p in self.policy.adapter.parameters().items():
                assign(p, checkpoint["state_dict"].pop(f"policy.transformer.{name}"))
        self.old, self.replay_floor = checkpoint["old"], checkpoint["replay_floor"]
