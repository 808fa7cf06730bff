"""What a training step takes beyond its compute: an update of ours, then the same calls bare, in turn, in one process.

    python benchmarks/overhead.py [--rounds 6] [--prompts 64] [--steps-per-update 1 all] [--threads 2] [train.py's overrides]

The update is that of `train.py`: the LightningModule in a Trainer, with a reward that costs nothing (brightness). "Bare"
are the calls of transformer, VAE, backward pass and AdamW that such an update makes, with peft's own LoRA layers, on inputs
that are ready, and nothing else: no pipeline, no pictures, no log-probabilities, no checks. Both draw the same number of
images and train the same steps. Prompts are encoded before, as they are once in a run.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from peft.tuners.lora.layer import Linear
from torch import Tensor

from arr_rpo.commands.cli.quiet import quieten
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.module import RPOModule
from arr_rpo.noise import Noise
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Prompt, Rewards, Rollout

WORK = ("experiment=t2i_rpo", "algorithm.kl_every_n_updates=null", "data.unseen=null", "run_dir=unused")


@dataclass(frozen=True)
class Seconds:
    """Of one update."""

    rollout: float
    update: float
    whole: float


@dataclass
class Bare:
    """The same modules, called with what a rollout's pipeline once called them with.

    calls: arguments of the transformer, by step. decoded: of the VAE's decoder, by pipeline call.
    """

    policy: PipelinePolicy
    optimizer_steps: str
    transformer: Any = None
    calls: list[list[dict[str, Any]]] = field(default_factory=list)
    decoded: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, policy: PipelinePolicy, prompts: Sequence[Prompt], group_size: int, optimizer_steps: str) -> Bare:
        bare = cls(policy, optimizer_steps)
        flat: list[dict[str, Any]] = []
        hook = policy.transformer.register_forward_pre_hook(lambda _, args, kwargs: flat.append(kwargs), with_kwargs=True)
        decode = policy.pipe.vae.decode
        policy.pipe.vae.decode = lambda z, *args, **kwargs: (bare.decoded.append(z), decode(z, *args, **kwargs))[1]
        policy.rollout(prompts, group_size, Noise(0, 0))
        policy.pipe.vae.decode = decode
        hook.remove()
        steps = policy.num_inference_steps
        bare.calls = [flat[start : start + steps] for start in range(0, len(flat), steps)]
        bare.transformer = copy.deepcopy(policy.transformer)
        for module in bare.transformer.modules():
            if isinstance(module, Linear):
                module.__class__ = Linear  # peft's own forward pass
        trained = [p for p in bare.transformer.parameters() if p.requires_grad]
        bare.optimizer = torch.optim.AdamW(trained, lr=1e-4)  # type: ignore[attr-defined]
        return bare

    def update(self) -> Seconds:
        begun = time.perf_counter()
        with torch.no_grad():
            for calls, z in zip(self.calls, self.decoded, strict=True):
                for call in calls:
                    self.transformer(**call)
                self.policy.pipe.vae.decode(z)
        drawn = time.perf_counter()
        optimizer = self.optimizer  # type: ignore[attr-defined]
        optimizer.zero_grad()
        for step in range(len(self.calls[0]) - 1):  # the last one is deterministic, and so is not trained
            for calls in self.calls:
                self.transformer(**calls[step])[0].square().mean().backward()
            if self.optimizer_steps != "all":
                optimizer.step()
                optimizer.zero_grad()
        if self.optimizer_steps == "all":
            optimizer.step()
        done = time.perf_counter()
        return Seconds(drawn - begun, done - drawn, done - begun)


class InTurn(pl.Callback):
    """Rewards brightness; times each update, and after it the bare one."""

    def __init__(self, bare: Bare) -> None:
        self.bare, self.ours, self.others = bare, list[Seconds](), list[Seconds]()
        self._begun = 0.0

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, RPOModule)
        module.judge_rewards = brightness

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, RPOModule)
        whole, stages = time.perf_counter() - self._begun, module.clock.take()
        self.ours.append(Seconds(stages["rollout"], stages["update"], whole))
        self.others.append(self.bare.update())


def brightness(rollout: Rollout, prompts: tuple[Prompt, ...]) -> Rewards:
    """The brighter of each two neighbours wins."""
    values = rollout.clean_BD.flatten(1).float().mean(1).view(-1, 2)
    first = (values[:, 0] > values[:, 1]).float() * 2 - 1
    return Rewards(torch.stack([first, -first], 1).flatten().cpu(), torch.ones(values.numel(), dtype=torch.bool))


def measure(rounds: int, prompts: int, steps_per_update: str, overrides: Sequence[str] = ()) -> tuple[list[Seconds], ...]:
    """Seconds of our updates and of bare ones, after two of each to warm up."""
    own = [f"data.updates={rounds + 2}", f"data.candidates_per_update={2 * prompts}"]
    own += [f"algorithm.steps_per_update={'null' if steps_per_update == 'all' else steps_per_update}"]
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("train", [*WORK, *own, *overrides])
    quieten()
    pl.seed_everything(config.seed, verbose=False)
    module, data = instantiate(config.module), instantiate(config.data)
    assert isinstance(module, RPOModule)
    assert isinstance(data, PromptDataModule)
    for _, some in data.train_dataloader():
        module.policy.generate(some, seed=0)
    bare = Bare.of(module.policy, data.train[:prompts], 2, steps_per_update)
    in_turn = InTurn(bare)
    config.trainer.enable_progress_bar = False
    config.trainer.plugins = None
    trainer = instantiate(config.trainer, logger=False, enable_checkpointing=False, callbacks=[in_turn], default_root_dir=None)
    trainer.fit(module, data)
    return in_turn.ours[2:], in_turn.others[2:]


def row(ours: Sequence[Seconds], bare: Sequence[Seconds], part: str) -> Mapping[str, float]:
    """Medians, and the ratio of each round with its neighbour."""
    a, b = [getattr(s, part) for s in ours], [getattr(s, part) for s in bare]
    ratios = sorted(x / y for x, y in zip(a, b, strict=True))
    middle = {"ours": statistics.median(a), "bare": statistics.median(b), "ratio": statistics.median(ratios)}
    return {**middle, "least": ratios[0], "most": ratios[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--steps-per-update", nargs="+", default=["1", "all"])
    parser.add_argument("--threads", type=int, default=2)
    given, overrides = parser.parse_known_args()
    torch.set_num_threads(given.threads)
    print("timesteps an optimizer step | part | ours s | bare s | ratio (least to most)")
    for steps in given.steps_per_update:
        ours, bare = measure(given.rounds, given.prompts, steps, overrides)
        for part in ("rollout", "update", "whole"):
            r = row(ours, bare, part)
            numbers = f"{r['ours']:.2f} | {r['bare']:.2f} | {r['ratio']:.2f} ({r['least']:.2f} to {r['most']:.2f})"
            print(f"{steps} | {part} | {numbers}", flush=True)


if __name__ == "__main__":
    main()
