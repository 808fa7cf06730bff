"""What is measured of pictures, and how far a policy has moved."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.images import spread
from arr_rpo.evaluation.path_kl import path_kl
from arr_rpo.formulas.gaussian import gaussian_kl
from arr_rpo.noise import Noise
from arr_rpo.types import Prompt
from tests.conftest import make_policy, make_sampler


def test_spread_is_even_and_without_repeats() -> None:
    prompts = [Prompt(str(n), "") for n in range(10)]
    assert [p.id for p in spread(prompts, 4)] == ["0", "2", "5", "7"]
    assert spread(prompts, 10) == spread(prompts, 99) == tuple(prompts)


def test_path_kl_is_that_of_the_steps_gone_through_twice() -> None:
    policy, prompts, sampler = make_policy(), read_prompts("shapes/heldout")[:3], make_sampler()
    assert path_kl(policy, prompts, 5, sampler) == 0.0  # a fresh adapter is the reference
    with torch.no_grad():
        for p in policy.adapter.parameters().values():
            p.add_(0.05)
    rollout, rows, expected = (
        policy.rollout(prompts, 1, Noise(5, 0), sampler=sampler, keys=[p.id for p in prompts]),
        torch.arange(3),
        0.0,
    )
    for step in range(len(rollout.step_indices)):
        with torch.no_grad():
            now = policy.replay(rollout, rows, step, sampler)
        with torch.no_grad(), policy.adapter.reference():
            then = policy.replay(rollout, rows, step, sampler)
        expected += float(gaussian_kl(now.mean, then.mean, now.std).mean()) * now.mean[0].numel()
    assert path_kl(policy, prompts, 5, sampler) == pytest.approx(expected, rel=1e-4)
    assert expected > 0
    # A prompt's path is its own: the mean over three is that of three measured alone.
    alone = [path_kl(policy, (prompt,), 5, sampler) for prompt in prompts]
    assert sum(alone) / 3 == pytest.approx(expected, rel=1e-4)
    assert path_kl(policy, prompts[::-1], 5, sampler) == pytest.approx(expected, rel=1e-4)
    assert len({round(one, 3) for one in alone}) == 3


def test_path_kl_of_sources_of_several_sizes_is_drawn_size_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some pipelines draw by the size of the source, and a rollout is of one shape; the mean is over prompts."""
    sources = [Image.new("RGB", size) for size in ((8, 8), (16, 8), (8, 8))]
    prompts = tuple(Prompt(str(n), "", source=source) for n, source in enumerate(sources))
    drawn: list[list[str]] = []

    def kl(policy: object, some: tuple[Prompt, ...], *_: object) -> float:
        drawn.append([prompt.id for prompt in some])
        return float(some[0].id)

    monkeypatch.setattr("arr_rpo.evaluation.path_kl._kl", kl)
    assert path_kl(make_policy(), prompts, 5, make_sampler()) == pytest.approx((2 * 0 + 1) / 3)
    assert drawn == [["0", "2"], ["1"]]
