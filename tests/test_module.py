"""How a rollout becomes optimizer steps."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from arr_rpo.callbacks.ema import EMA, averaged
from arr_rpo.module import RPOModule
from arr_rpo.policy.adapter import swapped
from arr_rpo.types import Prompt, UserError
from tests.conftest import configure

PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))
ADVANTAGES = torch.tensor([1.0, -1.0, 0.0, 1.0])


class Counting(torch.optim.SGD):
    """Counts its steps."""

    steps = 0

    def step(self, closure: Any = None) -> None:
        self.steps += 1
        super().step(closure)


def module_with(*overrides: str) -> tuple[RPOModule, Counting]:
    """A module outside of a trainer, with plain gradient descent."""
    config = configure(["experiment=t2i_rpo", "run_dir=x", "policy.num_inference_steps=3", *overrides])
    torch.manual_seed(0)
    module: RPOModule = instantiate(config.module)
    optimizer = Counting(module.policy.adapter.parameters().values(), lr=1.0)
    module.optimizers = lambda: optimizer  # type: ignore[method-assign, assignment, return-value]
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign, assignment, misc]
    return module, optimizer


def weights(module: RPOModule) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.policy.adapter.parameters().values()]


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ([], 2),  # one minibatch of the 3 rows with an advantage, 2 stochastic steps
        (["algorithm.steps_per_update=null"], 1),
        (["algorithm.minibatch_size=2"], 4),
        (["algorithm.epochs=3"], 6),
        (["algorithm=flow_dpo"], 3),  # all 3 noise levels of the schedule
        (["algorithm=diffusion_nft", "algorithm.group_size=2"], 3),
    ],
)
def test_number_of_optimizer_steps(overrides: list[str], steps: int) -> None:
    module, optimizer = module_with(*overrides)
    rollout = module.rollout(PROMPTS, 0) if "flow_dpo" not in str(overrides) else module.policy.rollout(PROMPTS, 2, (1,))
    assert len(rollout.images) == 4
    module.update(rollout, ADVANTAGES)
    assert optimizer.steps == steps


def test_nothing_to_say_is_no_step() -> None:
    module, optimizer = module_with()
    assert module.update(module.rollout(PROMPTS, 0), torch.zeros(4)) == {}
    assert optimizer.steps == 0


@pytest.mark.parametrize("algorithm", ["rpo", "flow_dpo"])
def test_microbatches_add_up_to_their_minibatch(algorithm: str) -> None:
    results = []
    for size in ("null", "2"):
        module, _ = module_with(
            f"algorithm={algorithm}",
            f"algorithm.microbatch_size={size}",
            "algorithm.steps_per_update=null",
            "algorithm.epochs=1",
        )
        rollout = module.policy.rollout(PROMPTS, 2, (1,))
        if algorithm == "flow_dpo":  # the noise of a pair is drawn in the order of the microbatches: take one pair
            module.update(rollout, torch.tensor([1.0, -1.0, 0.0, 0.0]))
        else:
            module.update(rollout, torch.tensor([1.0, -1.0, -0.5, 0.5]))
        results.append(weights(module))
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-4)


def test_the_old_weights_follow_slowly() -> None:
    module, _ = module_with("algorithm=diffusion_nft", "algorithm.group_size=2", "algorithm.old_decay.slope=0.25")
    parameters = module.policy.adapter.parameters()
    name = next(iter(parameters))
    module.rollout(PROMPTS, 0)
    first = parameters[name].detach().clone()
    assert torch.equal(module.old[name], first)
    with torch.no_grad():
        parameters[name].add_(1.0)
    module.rollout(PROMPTS, 1)  # keeps a quarter
    torch.testing.assert_close(module.old[name], first + 0.75)
    module.rollout(PROMPTS, 9)  # keeps half at most
    torch.testing.assert_close(module.old[name], first + 0.875)


def test_old_weights_roll_out() -> None:
    module, _ = module_with("algorithm=diffusion_nft", "algorithm.group_size=2", "algorithm.old_decay.slope=1")
    before = module.rollout(PROMPTS, 0)
    with torch.no_grad():
        for p in module.policy.adapter.parameters().values():
            p.add_(0.1)
    module.algorithm = dataclasses.replace(module.algorithm, old_decay=lambda update: 1.0)  # keeps everything
    assert torch.equal(module.rollout(PROMPTS, 0).clean_BD, before.clean_BD)


def test_a_nan_stops_the_run() -> None:
    module, _ = module_with()
    rollout = module.rollout(PROMPTS, 0)
    with pytest.raises(UserError, match="loss is nan"):
        module.update(rollout, torch.tensor([float("nan"), -1.0, 0.0, 1.0]))


def test_the_average_by_hand() -> None:
    module, _ = module_with()
    parameters = module.policy.adapter.parameters()
    name = next(iter(parameters))
    first = parameters[name].detach().clone()
    ema = EMA(decay=0.75)
    trainer = type("Trainer", (), {"callbacks": [ema]})()
    with averaged(trainer, module):  # nothing averaged yet
        assert torch.equal(parameters[name], first)
    ema.on_train_start(trainer, module)
    for expected in (0.25, 0.4375):
        with torch.no_grad():
            parameters[name].copy_(first + 1)
        ema.on_train_batch_end(trainer, module, None, None, 0)
        with averaged(trainer, module):
            torch.testing.assert_close(parameters[name].detach(), first + expected)
    assert torch.equal(parameters[name], first + 1)
    again = EMA(decay=0.75)
    again.load_state_dict(ema.state_dict())
    again.on_train_start(trainer, module)
    assert torch.equal(again.average[name], ema.average[name])


def test_swapped_puts_back_also_after_an_error() -> None:
    module, _ = module_with()
    parameters = module.policy.adapter.parameters()
    before = weights(module)
    with pytest.raises(ZeroDivisionError), swapped(parameters, {name: torch.zeros_like(p) for name, p in parameters.items()}):
        assert all(float(p.detach().abs().sum()) == 0 for p in parameters.values())
        raise ZeroDivisionError
    assert all(torch.equal(a, b) for a, b in zip(before, weights(module), strict=True))
