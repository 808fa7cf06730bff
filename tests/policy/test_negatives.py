"""Negative prompts of single prompts: used where the pipeline has guidance, alike in every batch, never dropped in silence."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch

from arr_rpo.noise import Noise
from arr_rpo.policy import negatives
from arr_rpo.policy.calls import calls_of
from arr_rpo.policy.negatives import negative_prompts
from arr_rpo.policy.parity import replay_floor
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.types import Prompt, UserError
from tests.conftest import make_policy

PLAIN = Prompt("a", "a photo of a red circle")
BARE = Prompt("b", "a photo of two blue stars")
AVOIDING = dataclasses.replace(PLAIN, negative="a photo of a green square")
CALL = {"height": 32, "width": 32, "max_sequence_length": 12}


@pytest.fixture(scope="module")
def guided() -> PipelinePolicy:
    return make_policy(call={**CALL, "true_cfg_scale": 4.0})


def grey(policy: PipelinePolicy, *prompts: Prompt) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=float) for image in policy.generate(prompts, seed=5)])


def test_it_changes_the_picture_of_its_prompt_and_no_other(guided: PipelinePolicy) -> None:
    plain, bare = grey(guided, PLAIN, BARE)
    avoiding, beside = grey(guided, AVOIDING, BARE)
    assert np.abs(avoiding - plain).mean() > 2
    assert np.abs(beside - bare).max() <= 1  # it goes without guidance, as it does alone
    assert np.abs(grey(guided, AVOIDING)[0] - avoiding).max() <= 1


def test_the_same_as_for_all_by_the_policy(guided: PipelinePolicy) -> None:
    common = make_policy(call={**CALL, "true_cfg_scale": 4.0, "negative_prompt": AVOIDING.negative})
    assert np.abs(grey(common, PLAIN)[0] - grey(guided, AVOIDING)[0]).max() <= 1
    assert np.abs(grey(common, dataclasses.replace(PLAIN, negative=""))[0] - grey(common, PLAIN)[0]).mean() > 2


def test_it_is_replayed(guided: PipelinePolicy) -> None:
    """Also where the transformer is called alone for further steps, which has seen a prompt without guidance."""
    rollout = guided.rollout((BARE, AVOIDING), 2, Noise(1, 2))
    assert replay_floor(guided, rollout) <= 1e-6
    guided.find_short_way(rollout)
    with guided.conditioning_kept():
        for step in range(2):
            replayed = guided.replay(rollout, torch.arange(4), step).log_probs_B
            torch.testing.assert_close(replayed, rollout.log_probs_BT[:, step], atol=1e-6, rtol=0)


def test_where_it_changes_nothing_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    negatives._say_idle.cache_clear()
    policy = make_policy()
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(grey(policy, AVOIDING), grey(policy, PLAIN))
    assert "negative prompts change nothing: policy.call.true_cfg_scale of FluxPipeline is 1.0" in caplog.text


def test_a_pipeline_that_takes_none_is_named() -> None:
    class NonePipeline:
        def __call__(self, prompt: str) -> None: ...

    assert negative_prompts(NonePipeline(), [PLAIN], {}) == {}
    with pytest.raises(UserError, match=r"prompt 'a' has a negative prompt, and NonePipeline takes none: data\.columns"):
        negative_prompts(NonePipeline(), [AVOIDING], {})


def test_encoders_that_are_released_cannot_read_them() -> None:
    policy = make_policy(release_text_encoders=True)
    with pytest.raises(UserError, match="release_text_encoders: encoders that read a negative prompt"):
        policy.cache_prompts([AVOIDING])


def test_guidance_that_is_counted_from_zero_is_on_at_one(caplog: pytest.LogCaptureFixture) -> None:
    class ZImagePipeline:
        def __call__(self, prompt: str, negative_prompt: str, guidance_scale: float = 5.0) -> None: ...

    negatives._say_idle.cache_clear()
    with caplog.at_level(logging.WARNING):
        negative_prompts(ZImagePipeline(), [AVOIDING], {"guidance_scale": 1.0})
        assert not caplog.text
        negative_prompts(ZImagePipeline(), [AVOIDING], {"guidance_scale": 0.0})
    assert "guidance begins above 0" in caplog.text


def test_sharded_weights_want_a_negative_prompt_of_all_or_of_none() -> None:
    with pytest.raises(UserError, match=r"trainer=fsdp2: some prompts have a negative one .* policy\.call\.negative_prompt"):
        calls_of([PLAIN, AVOIDING], 2, sharded=True)
    assert calls_of([PLAIN, AVOIDING], 2, sharded=True, all_guided=True).idle == []
    assert len(calls_of([PLAIN, PLAIN], 2, sharded=True).own) == 1
