"""How a rollout becomes optimizer steps."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from arr_rpo.algorithm.finite import NonFiniteError
from arr_rpo.callbacks.ema import EMA, averaged
from arr_rpo.module import RPOModule
from arr_rpo.noise import Noise
from arr_rpo.policy.adapter import swapped
from arr_rpo.types import Advantages, Prompt, Rewards
from tests.conftest import configure

PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))
NOISE = Noise(1, 0)


def advantages(*values: float) -> Advantages:
    return Advantages(torch.tensor(values), torch.ones(len(values), dtype=torch.bool))


ADVANTAGES = advantages(1.0, -1.0, 0.0, 1.0)


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
        (["algorithm.minibatch_size=null"], 2),
        (["algorithm=rpo_paper"], 1),
        (["algorithm=flow_dppo", "algorithm.group_size=2"], 2),
        (["algorithm.epochs=3"], 6),
        (["algorithm=flow_dpo"], 3),  # all 3 noise levels of the schedule
        (["algorithm=diffusion_nft", "algorithm.group_size=2"], 3),
    ],
)
def test_number_of_optimizer_steps(overrides: list[str], steps: int) -> None:
    module, optimizer = module_with(*overrides)
    rollout = (
        module.rollout(PROMPTS, Noise(1, 0))
        if "flow_dpo" not in str(overrides)
        else module.policy.rollout(PROMPTS, 2, Noise(1, 0))
    )
    assert len(rollout.images) == 4
    module.update(rollout, ADVANTAGES, NOISE)
    assert optimizer.steps == steps


@pytest.mark.parametrize(("every", "measured"), [("2", [True, False, True]), ("null", [False] * 3)])
def test_the_divergence_is_measured_as_often_as_asked(every: str, measured: list[bool]) -> None:
    """Of the first step's first microbatch alone: one pass more."""
    module, _ = module_with(f"algorithm.kl_every_n_updates={every}", "algorithm.microbatch_size=2")
    calls, reference = 0, module.policy.adapter.reference

    def counted() -> Any:
        nonlocal calls
        calls += 1
        return reference()

    module.policy.adapter.reference = counted  # type: ignore[method-assign]
    rollout = module.rollout(PROMPTS, NOISE)
    logs = [module.update(rollout, ADVANTAGES, Noise(1, update)) for update in range(3)]
    assert ["policy/kl" in log for log in logs] == measured
    assert calls == sum(measured)


@pytest.mark.parametrize(
    ("overrides", "fused"),
    [
        ([], True),
        (["+module.optimizer.foreach=true"], None),
        (["+module.optimizer.fused=false"], False),
        (["module.optimizer._target_=torch.optim.RAdam"], None),  # has none
    ],
)
def test_fused_kernels_where_the_config_says_nothing_else(overrides: list[str], fused: bool | None) -> None:
    config = configure(["experiment=t2i_rpo", "run_dir=x", *overrides])
    module: RPOModule = instantiate(config.module)
    assert module.configure_optimizers().defaults.get("fused") is fused


def test_prompts_without_two_grades_say_nothing_of_themselves() -> None:
    module, _ = module_with()
    values, valid = torch.tensor([1.0, -1.0, 0.0, 0.0]), torch.tensor([True, True, True, False])
    module.judge_rewards = lambda rollout, prompts: Rewards(values, valid)
    module.print = lambda *some: None  # type: ignore[method-assign, assignment]
    assert module.learn(PROMPTS, NOISE) == [False, None]
    module.judge_rewards = lambda rollout, prompts: Rewards(torch.zeros(4), torch.ones(4, dtype=torch.bool))
    assert module.learn(PROMPTS, Noise(1, 1)) == [True, True]


def test_nothing_to_say_is_no_step() -> None:
    module, optimizer = module_with()
    assert module.update(module.rollout(PROMPTS, NOISE), advantages(0.0, 0.0, 0.0, 0.0), NOISE) == {}
    assert module.metrics["policy/optimizer_steps"] == 0
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
        rollout = module.policy.rollout(PROMPTS, 2, Noise(1, 0))
        if algorithm == "flow_dpo":
            module.update(rollout, advantages(1.0, -1.0, 0.5, -0.5), NOISE)
        else:
            module.update(rollout, advantages(1.0, -1.0, -0.5, 0.5), NOISE)
        results.append(weights(module))
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-4)


def test_the_old_weights_follow_slowly() -> None:
    module, _ = module_with("algorithm=diffusion_nft", "algorithm.group_size=2", "algorithm.old_decay.slope=0.25")
    parameters = module.policy.adapter.parameters()
    name = next(iter(parameters))
    module.rollout(PROMPTS, Noise(1, 0))
    first = parameters[name].detach().clone()
    assert torch.equal(module.old[name], first)
    with torch.no_grad():
        parameters[name].add_(1.0)
    module.rollout(PROMPTS, Noise(1, 1))  # keeps a quarter
    torch.testing.assert_close(module.old[name], first + 0.75)
    module.rollout(PROMPTS, Noise(1, 9))  # keeps half at most
    torch.testing.assert_close(module.old[name], first + 0.875)


def test_old_weights_roll_out() -> None:
    module, _ = module_with("algorithm=diffusion_nft", "algorithm.group_size=2", "algorithm.old_decay.slope=1")
    before = module.rollout(PROMPTS, Noise(1, 0))
    with torch.no_grad():
        for p in module.policy.adapter.parameters().values():
            p.add_(0.1)
    module.algorithm = dataclasses.replace(module.algorithm, old_decay=lambda update: 1.0)  # keeps everything
    assert torch.equal(module.rollout(PROMPTS, Noise(1, 0)).clean_BD, before.clean_BD)


@pytest.mark.parametrize("place", ["loss", "first gradient", "last gradient", "weight"])
def test_what_is_not_finite_leaves_weights_and_optimizer_as_they_were(place: str) -> None:
    module, _ = module_with()
    parameters = module.policy.adapter.parameters()
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    module.optimizers = lambda: optimizer  # type: ignore[method-assign, assignment, return-value]
    rollout = module.rollout(PROMPTS, NOISE)
    module.update(rollout, ADVANTAGES, NOISE)  # the optimizer has a state
    before, state = weights(module), copy.deepcopy(optimizer.state_dict())
    given, passes = ADVANTAGES, 0
    name, p = next(iter(parameters.items()))
    if place == "loss":
        given, expected = advantages(float("nan"), -1.0, 0.0, 1.0), "the loss of step"
    elif place == "weight":
        optimizer.param_groups[0]["lr"], expected = float("inf"), "the weight "
        module.algorithm = dataclasses.replace(module.algorithm, steps_per_update=None)  # no later loss that would see it
    else:
        expected = f"the gradient of {name}"

        def broken(gradient: torch.Tensor) -> torch.Tensor:
            nonlocal passes
            passes += 1
            return gradient * float("nan") if passes == (1 if place == "first gradient" else 2) else gradient

        hook = p.register_hook(broken)
    with pytest.raises(NonFiniteError, match=expected):
        module.update(rollout, given, NOISE)
    if "gradient" in place:
        hook.remove()
        assert passes == (1 if place == "first gradient" else 2)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(module), strict=True))
    for number, values in state["state"].items():
        for key, value in values.items():
            assert torch.equal(value, optimizer.state_dict()["state"][number][key])


def test_the_first_update_is_taken_back_with_the_optimizers_state() -> None:
    module, _ = module_with()
    optimizer = torch.optim.AdamW(module.policy.adapter.parameters().values(), lr=float("inf"))
    module.optimizers = lambda: optimizer  # type: ignore[method-assign, assignment, return-value]
    before = weights(module)
    with pytest.raises(NonFiniteError):
        module.update(module.rollout(PROMPTS, NOISE), ADVANTAGES, NOISE)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(module), strict=True))
    assert optimizer.state_dict()["state"] == {}


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


def test_the_gate_is_passed_at_each_start_and_the_first_floor_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on may replay otherwise: on another machine, or with gradient checkpointing."""
    module, _ = module_with("data.updates=2")
    module.replay_floor = 0.5  # as a checkpoint has it
    passed: list[float] = []
    monkeypatch.setattr(type(module.algorithm.objective), "parity", lambda *_: passed.append(0.25) or 0.25)
    module.print = lambda *_: None  # type: ignore[method-assign, assignment]
    size = module.algorithm.group_size
    values = torch.arange(len(PROMPTS) * size).float()
    module.judge_rewards = lambda rollout, prompts: Rewards(values, torch.ones(len(values), dtype=torch.bool))
    for _ in range(2):
        module.learn(PROMPTS, NOISE)
    assert (passed, module.replay_floor) == ([0.25], 0.5)
