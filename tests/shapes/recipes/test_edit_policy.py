"""The recipe of the editing policy: what it trains is what the pipeline calls, and it begins as the text-to-image policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from arr_rpo.policy.loading import SHAPES_POLICY
from arr_rpo.shapes.recipes.flow import bytes_of, predicted_velocity
from arr_rpo.shapes.recipes.policy_parts import MAX_TOKENS, build_edit_pipeline, instruction_words, words
from arr_rpo.shapes.world.edits import instruction, random_edit
from arr_rpo.shapes.world.scene import draw


@pytest.fixture(scope="module")
def pipe() -> Any:
    pipe = build_edit_pipeline(str(SHAPES_POLICY))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_the_recipe_predicts_what_the_pipeline_does(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The velocity of a step that the pipeline takes, for a batch of sources; and the sources matter."""
    rng = np.random.default_rng(0)
    drawn = [random_edit(rng) for _ in range(3)]
    sources, texts = [draw(scene) for scene, _ in drawn], [instruction(edit, i) for i, (_, edit) in enumerate(drawn)]
    taken: list[tuple[torch.Tensor, ...]] = []
    step = pipe.scheduler.step

    def recorded(velocity: torch.Tensor, t: torch.Tensor, x: torch.Tensor, **more: Any) -> Any:
        taken.append((velocity, t, x))
        return step(velocity, t, x, **more)

    monkeypatch.setattr(pipe.scheduler, "step", recorded)
    size = {"height": 32, "width": 32, "max_area": 1024, "_auto_resize": False}
    pipe(sources, texts, num_inference_steps=2, max_sequence_length=MAX_TOKENS, output_type="latent", **size)
    velocity, t, x = taken[1]
    with torch.no_grad():
        latents = pipe._encode_vae_image(image=bytes_of(sources).float() / 127.5 - 1, generator=None)
        ours = predicted_velocity(pipe, x, (t / 1000).expand(3), texts, latents)
        others = predicted_velocity(pipe, x, (t / 1000).expand(3), texts, latents.roll(1, 0))
    torch.testing.assert_close(ours, velocity, atol=2e-5, rtol=1e-5)
    assert (others - velocity).abs().amax((1, 2)).min() > 0.05


def test_without_a_source_it_is_the_text_to_image_policy(pipe: Any) -> None:
    """Words that both know mean the same, under whatever numbers."""
    base = FluxPipeline.from_pretrained(SHAPES_POLICY, local_files_only=True)
    x, sigma = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0.9, 0.4])
    texts = ["a photo of three red stars", "a drawing of a green circle left of a blue square"]
    with torch.no_grad():
        theirs = predicted_velocity(base, x, sigma, texts, None)
        embeds, pooled, text_ids = pipe.encode_prompt(texts, None, max_sequence_length=MAX_TOKENS)
        ours = pipe.transformer(
            hidden_states=x,
            timestep=sigma,
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=text_ids,
            img_ids=pipe._prepare_latent_image_ids(2, 4, 4, x.device, x.dtype),
            return_dict=False,
        )[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_instructions_are_of_known_words_and_fit(pipe: Any) -> None:
    rng = np.random.default_rng(1)
    told = {word for i in range(600) for word in instruction(random_edit(rng)[1], i % 3).split()}
    assert told <= set(instruction_words())
    assert {"replace", "upper"} <= told - set(words())
    for tokenizer, ends in ((pipe.tokenizer, 2), (pipe.tokenizer_2, 1)):
        assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in instruction_words())
        assert len(tokenizer("change the color of the purple triangle to yellow").input_ids) == 9 + ends
