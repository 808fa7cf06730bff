"""Editing: a batch of sources, sources of any size, several pictures a prompt, and real pictures through both pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from arr_rpo.algorithm.base import Microbatch
from arr_rpo.algorithm.policy_gradient import PolicyGradient
from arr_rpo.data.pictures import load_picture
from arr_rpo.formulas.losses import log_ratio, plain_weight
from arr_rpo.noise import Noise
from arr_rpo.policy.calls import calls_of
from arr_rpo.policy.loading import EMBEDDED, SHAPES_POLICY, component_folder, load_pipeline
from arr_rpo.policy.parity import replay_floor
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.shapes.world.scene import Thing, draw
from arr_rpo.types import Advantages, Prompt, UserError
from tests.conftest import configure, make_policy
from tests.policy.twins.flux import TWINS as FLUX
from tests.policy.twins.qwen import TWINS as QWEN

REAL = Path("/work/shared/data/Step1X-Edit/examples")
TWINS = {name: (FLUX | QWEN)[name] for name in ("flux1_kontext_dev", "qwen_image_edit_plus")}
CALL = {"height": 32, "width": 32, "max_sequence_length": 12, "max_area": 1024, "_auto_resize": False}
SCENES = [(Thing("red", "circle", 8, 8, 6),), (Thing("blue", "star", 24, 24, 6),), (Thing("green", "square", 8, 24, 5.5),)]
INSTRUCTIONS = ("make the red circle blue", "remove the blue star", "add a red star upper left")
PROMPTS = tuple(Prompt(text[:4], text, source=draw(s)) for text, s in zip(INSTRUCTIONS, SCENES, strict=True))


@pytest.fixture(scope="module")
def embedded() -> PipelinePolicy:
    return make_policy(checkpoint="shapes_edit", call=CALL)


def test_each_candidate_of_a_batch_is_replayed_with_its_own_source(embedded: PipelinePolicy) -> None:
    """In another order and another batch than it was rolled out in; with another source it is another step."""
    rollout = embedded.rollout(PROMPTS, 2, Noise(1, 0))
    rows = torch.tensor([5, 0, 3])
    with torch.no_grad():
        now = embedded.replay(rollout, rows, 1)
        torch.testing.assert_close(now.log_probs_B, rollout.log_probs_BT[rows, 1], atol=1e-6, rtol=0)
        torch.testing.assert_close(now.mean, rollout.means_BTD[rows, 1], atol=1e-5, rtol=1e-5)
        mixed_up = tuple(Prompt(p.id, p.text, source=q.source) for p, q in zip(PROMPTS, PROMPTS[1:] + PROMPTS[:1], strict=True))
        other = embedded.replay(type(rollout)(**{**vars(rollout), "prompts": mixed_up}), rows, 1)
    assert (other.mean - now.mean).abs().amax((1, 2)).min() > 0.02


def test_the_embedded_policies_share_the_vae() -> None:
    assert not (EMBEDDED["shapes_edit"] / "vae").exists()
    assert component_folder(EMBEDDED["shapes_edit"], "vae") == SHAPES_POLICY / "vae"
    assert component_folder(EMBEDDED["shapes_edit"], "transformer") == EMBEDDED["shapes_edit"] / "transformer"
    both = [load_pipeline(name, torch.float32, {}) for name in ("shapes", "shapes_edit")]
    assert type(both[1]).__name__ == "FluxKontextPipeline"
    weights = [pipe.vae.state_dict() for pipe in both]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def sized(width: int, height: int, references: int = 0) -> Prompt:
    blank = Image.new("RGB", (width, height))
    return Prompt("p", "x", source=blank, references=(blank,) * references)


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([Prompt("p", "x")] * 5, [(0, 2), (2, 4), (4, 5)]),
        ([sized(8, 8)] * 3 + [sized(9, 8)], [(0, 2), (2, 3), (3, 4)]),
        ([sized(8, 8), Prompt("p", "x"), sized(8, 8)], [(0, 1), (1, 2), (2, 3)]),
        ([sized(8, 8, references=1)] * 2 + [sized(8, 8)] * 2, [(0, 1), (1, 2), (2, 4)]),
    ],
    ids=["no sources", "another size", "some without", "references"],
)
def test_a_call_has_sources_of_one_size(prompts: list[Prompt], expected: list[tuple[int, int]]) -> None:
    """Pipelines scale all to the first: the latents of a source would depend on its neighbours, which differ in replay."""
    assert [(rows.start, rows.stop) for rows in calls_of(prompts, batch_size=2, sharded=False).own] == expected


def test_references_need_a_source_and_a_pipeline_that_takes_them(embedded: PipelinePolicy) -> None:
    with pytest.raises(ValueError, match="no source"):
        Prompt("p", "x", references=(Image.new("RGB", (8, 8)),))
    with pytest.raises(UserError, match=r"'p' brings 3 pictures, .* policy\.max_pictures=1"):
        embedded.generate([sized(32, 32, references=2)], seed=1)


# -- tiny twins ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=sorted(TWINS))
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelinePolicy]:
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    TWINS[name].build(folder)
    own = [f"policy={name}", f"policy.checkpoint={folder}", "policy.dtype=float32", "policy.num_inference_steps=3"]
    with pytest.MonkeyPatch.context() as patch:
        for target, value in TWINS[name].patches.items():
            patch.setattr(target, value)
        policy: PipelinePolicy = instantiate(
            configure(["experiment=t2i_rpo", "run_dir=x", *own, *TWINS[name].overrides]).policy
        )
        yield policy


def trains_on(policy: PipelinePolicy, prompts: tuple[Prompt, ...]) -> None:
    """Rollout, exact replay, and an update that moves the adapter."""
    rollout = policy.rollout(prompts, 2, Noise(1, 0))
    assert replay_floor(policy, rollout, rows=len(rollout.images)) <= 2e-6
    parameters = policy.adapter.parameters()
    before = {name: p.detach().clone() for name, p in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3)
    objective = PolicyGradient(log_ratio=log_ratio, weight=plain_weight, clip_range=0.2, kl_coefficient=0.1)
    values = torch.tensor([1.0, -1.0] * len(prompts))
    advantages = Advantages(values, values.isfinite())
    units = objective.units(advantages, 2)
    loss, _ = objective.loss(policy, Microbatch(rollout, units, 1, 0, advantages, {}, Noise(0, 0), False, 1.0))
    loss.backward()
    optimizer.step()
    assert any(not torch.equal(p, before[name]) for name, p in parameters.items())
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(before[name])
    policy.zero_grad()


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    """A picture of a mode, with something in it."""
    grey = np.random.default_rng(0).integers(0, 65536, (size[1], size[0]), dtype=np.uint16)
    return Image.fromarray(grey) if mode == "I;16" else Image.fromarray((grey // 256).astype(np.uint8)).convert(mode)


@pytest.mark.slow
def test_odd_pictures(twin: PipelinePolicy, tmp_path: Path) -> None:
    """Of one pixel more or less than any grid wants, each of a size and a kind of its own."""
    kinds = {"RGB": (333, 517), "RGBA": (97, 64), "L": (101, 103), "I;16": (64, 65), "P": (129, 65), "CMYK": (66, 100)}
    prompts = []
    for mode, size in kinds.items():
        path = tmp_path / f"{mode.replace(';', '')}.{'tif' if mode == 'CMYK' else 'png'}"
        noise(mode, size).save(path)
        prompts.append(Prompt(mode, "make it blue", source=load_picture(path)))
    trains_on(twin, tuple(prompts))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the pictures of Step1X-Edit are not at hand")
def test_the_pictures_of_step1x_edit(twin: PipelinePolicy) -> None:
    """In their own proportions, but small: a megapixel is thousands of tokens to FLUX.1-Kontext."""
    prompts = []
    for path in sorted(REAL.glob("0*")):
        picture = load_picture(path)
        picture.thumbnail((261, 261))
        prompts.append(Prompt(path.name, "change the image to anime style", source=picture))
    trains_on(twin, tuple(prompts))


@pytest.mark.slow
def test_several_pictures_a_prompt(twin: PipelinePolicy) -> None:
    """Where the pipeline takes them, the second matters."""
    blue, red = (Image.new("RGB", (40, 33), colour) for colour in ("blue", "red"))
    two = [Prompt("p", "put picture 2 on picture 1", source=blue, references=(other,)) for other in (red, blue)]
    if twin.called.max_pictures == 1:
        with pytest.raises(UserError, match="max_pictures=1"):
            twin.generate(two, seed=1)
        return
    trains_on(twin, tuple(two))
    one, other = (np.asarray(twin.generate([prompt], seed=1)[0]) for prompt in two)
    assert not np.array_equal(one, other)


def test_a_large_source_is_shown_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 4000 x 4000 pixels took minutes an update."""
    policy = instantiate(configure(["experiment=edit_rpo"]).policy)
    seen: list[tuple[int, int]] = []
    prepare = policy.pipe.image_processor.preprocess

    def look(image: Image.Image, *rest: Any, **more: Any) -> Any:
        seen.append(image.size)
        return prepare(image, *rest, **more)

    monkeypatch.setattr(policy.pipe.image_processor, "preprocess", look)
    source = Image.new("RGB", (4000, 2000), (255, 0, 0))
    policy.generate([Prompt("p", "add a star", source=source)], seed=1)
    assert seen == [(64, 32)]
    assert source.size == (4000, 2000)
