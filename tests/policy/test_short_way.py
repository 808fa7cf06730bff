"""What a pipeline must be like for its further steps to be short, and what is kept for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arr_rpo.noise import Noise
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.policy.short_way import Kept, ShortWay, WholeStep, learned
from arr_rpo.types import Prompt, Rollout
from tests.conftest import make_policy

PROMPTS = (Prompt("a", "a photo of a red circle"), Prompt("b", "a photo of two blue stars"))
TEXT = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))


class Transformer(nn.Module):
    def forward(self, x: Tensor, t: Any, text: Tensor) -> tuple[Tensor]:
        return (x * t.view(-1, 1, 1) + text.sum(1, keepdim=True),)


def steps(change: Callable[[dict[str, Any], int], Any] | None = None, sign: float = 1.0, calls: int = 1) -> list[WholeStep]:
    """Of a pipeline that gives its transformer latents, a time and a text; changed as said."""
    made = []
    for index in range(3):
        latents = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(index))
        given: dict[str, Any] = {"x": latents, "t": torch.full((2,), 1.0 - index / 4), "text": TEXT}
        velocity = Transformer()(**given)[0] * sign
        if change:
            change(given, index)
        made.append(WholeStep(latents, velocity, (given,) * calls))
    return made


def test_it_is_found_out_and_goes_for_other_rows() -> None:
    way = learned(Transformer(), steps())
    assert isinstance(way, ShortWay)
    assert way.latents == "x"
    assert [float(some["t"]) for some in way.by_step] == [1.0, 0.75, 0.5]
    given = {"x": torch.zeros(3, 5, 4), "t": torch.ones(3), "text": torch.ones(3, 1, 4)}
    latents = torch.randn(3, 5, 4)
    assert torch.equal(way.velocity(Transformer(), given, latents, 2), latents * 0.5 + 1)


def test_latents_may_be_followed_by_what_stays() -> None:
    class Edits(Transformer):
        def forward(self, x: Tensor, t: Any, text: Tensor) -> tuple[Tensor]:
            return (torch.cat([super().forward(x[:, :5], t, text)[0] + x[:, 5:].sum(), x[:, 5:]], 1),)

    source = torch.randn(2, 2, 4)
    found = steps(lambda given, _: given.update(x=torch.cat([given["x"], source], 1)))
    found = [WholeStep(s.latents, Edits()(**s.arguments[0])[0][:, :5], s.arguments) for s in found]
    way = learned(Edits(), found)
    assert isinstance(way, ShortWay)
    latents = torch.randn(2, 5, 4)
    wanted = latents * 0.75 + TEXT.sum(1, keepdim=True) + source.sum()
    torch.testing.assert_close(way.velocity(Edits(), found[0].arguments[0], latents, 1), wanted)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (steps(calls=2), "once a step"),
        (steps(calls=0), "once a step"),
        (steps(sign=-1.0), "not what the scheduler steps with"),
        (steps(lambda given, _: given.update(x=given["x"] * 2)), "not given the latents"),
        (steps(lambda given, _: given.update(text=given["x"])), "not given the latents"),  # which of the two?
        (steps(lambda given, index: given.update(text=TEXT + index)), "depends on the step"),
        (steps(lambda given, index: given.update(mode=str(index))), "depends on the step"),
        (steps(lambda given, index: given.update({str(index): 1})), "not given the latents"),
        (steps(lambda given, index: given.update(t=torch.tensor([1.0, 0.5]) - index / 4)), "depends on the step"),
    ],
)
def test_a_pipeline_that_does_more_is_called_whole(found: list[WholeStep], why: str) -> None:
    said = learned(Transformer(), found)
    assert isinstance(said, str)
    assert why in said


def test_what_a_gradient_goes_through_is_not_kept_nor_what_there_is_no_room_for() -> None:
    text, kept = torch.zeros(4), Kept(lambda size: size <= 32)
    kept.put(PROMPTS[:1], {"text": torch.zeros(1, requires_grad=True) * 2})
    assert kept.get(PROMPTS[:1]) is None
    kept.put(PROMPTS[:1], {"x": text, "same": text[:2], "mode": "fast"})  # 16 bytes, of one storage
    kept.put(PROMPTS, {"x": torch.zeros(8)})
    assert kept.get(PROMPTS[:1]) is not None
    assert kept.get(PROMPTS) is None
    kept.put(PROMPTS, {"x": torch.zeros(4)})
    assert kept.get(PROMPTS) is not None
    assert kept.get(PROMPTS[1:]) is None


@pytest.fixture(scope="module")
def policy() -> PipelinePolicy:
    return make_policy()


@pytest.fixture(scope="module")
def rollout(policy: PipelinePolicy) -> Rollout:
    made = policy.rollout(PROMPTS, 2, Noise(1, 0))
    policy.find_short_way(made)
    return made


def called(policy: PipelinePolicy, rollout: Rollout, *rows: list[int]) -> int:
    """How often the whole pipeline is called for a step of each of these rows."""
    calls = []
    whole = policy.called.one_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy.called, "one_step", lambda *some: calls.append(1) or whole(*some))
        for some in rows:
            policy.replay(rollout, torch.tensor(some), 1)
    return len(calls)


def test_the_pipeline_is_called_once_for_the_same_candidates(policy: PipelinePolicy, rollout: Rollout) -> None:
    assert called(policy, rollout, [0, 2], [0, 2]) == 2
    with policy.conditioning_kept():
        assert called(policy, rollout, [0, 2], [1, 3], [0, 2]) == 1  # 0 and 1 are of one prompt, 2 and 3 of another
        assert called(policy, rollout, [2, 0], [0], [2, 0]) == 2
    assert called(policy, rollout, [0, 2]) == 1


def test_other_prompts_are_not_taken_for_these(policy: PipelinePolicy, rollout: Rollout) -> None:
    other = policy.rollout((Prompt("a", "a photo of a green star"), PROMPTS[1]), 2, Noise(1, 0))
    rows = torch.tensor([0, 2])
    with torch.no_grad():
        wanted = policy.velocity(other, rows, other.latents_BTD[rows, 1], 1)
        with policy.conditioning_kept():
            policy.velocity(rollout, rows, rollout.latents_BTD[rows, 1], 1)
            assert torch.equal(policy.velocity(other, rows, other.latents_BTD[rows, 1], 1), wanted)


def test_it_holds_after_a_rollout_that_reset_the_schedule(policy: PipelinePolicy, rollout: Rollout) -> None:
    rows = torch.tensor([0, 2])
    with torch.no_grad(), policy.conditioning_kept():
        one = policy.replay(rollout, rows, 1)
        policy.generate(PROMPTS, seed=1)
        assert torch.equal(policy.replay(rollout, rows, 1).log_probs_B, one.log_probs_B)
