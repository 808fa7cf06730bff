"""The pictures that the embedded judge learns to see: drawn ones, and samples of the base policies as the oracle sees them."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from arr_rpo.policy.loading import load_pipeline
from arr_rpo.shapes.oracles import detection
from arr_rpo.shapes.recipes.judge_data import Group, Picture
from arr_rpo.shapes.recipes.policy_parts import MAX_TOKENS
from arr_rpo.shapes.recipes.taught import open_prompt
from arr_rpo.shapes.world import prompts
from arr_rpo.shapes.world.asked import own
from arr_rpo.shapes.world.edits import Edit, instruction, mistaken_edit, random_edit, to_metadata
from arr_rpo.shapes.world.open_prompts import is_open
from arr_rpo.shapes.world.prompts import varied_scene
from arr_rpo.shapes.world.scene import Scene, draw
from arr_rpo.shapes.world.vocabulary import IMAGE_SIZE, TAGS
from arr_rpo.types import UserError

log = logging.getLogger(__name__)
PICTURES_A_GROUP = 3
SAMPLED_TOGETHER = 256


@dataclass(frozen=True)
class Pools:
    """Groups of pictures of prompts and of edits, drawn and sampled."""

    drawn: Sequence[Group]
    sampled: Sequence[Group]
    drawn_edits: Sequence[Group]
    sampled_edits: Sequence[Group]

    def any(self, edits: float, rng: np.random.Generator) -> Group:
        """A group: of an edit with probability `edits`; drawn as often as sampled."""
        pools = (self.drawn_edits, self.sampled_edits) if rng.random() < edits else (self.drawn, self.sampled)
        pool = pools[int(rng.random() < 0.5)]
        return pool[int(rng.integers(len(pool)))]

    def any_open(self, rng: np.random.Generator) -> Group:
        """A group of pictures that follow a prompt that leaves something open; drawn as often as sampled, where there are such.

        Raises:
            UserError: there are none.
        """
        drawn, sampled = self._open
        pool = (drawn or sampled) if rng.random() < 0.5 else (sampled or drawn)
        if not pool:
            raise UserError("no two pictures of a prompt follow it: more drawn_groups, or naming_batch_size=0")
        return pool[int(rng.integers(len(pool)))]

    @functools.cached_property
    def _open(self) -> tuple[list[Group], list[Group]]:
        drawn, sampled = (
            [following(group) for group in some if is_open(group.metadata)] for some in (self.drawn, self.sampled)
        )
        return [g for g in drawn if len(g.pictures) > 1], [g for g in sampled if len(g.pictures) > 1]


def following(group: Group) -> Group:
    """With those pictures alone that follow its prompt."""
    asked = own(group.metadata)
    return dataclasses.replace(group, pictures=tuple(p for p in group.pictures if all(a.truth(p.things) for a in asked)))


def imagined_open(rng: np.random.Generator) -> Group:
    """Pictures that are only described, all of which follow a prompt that leaves something open."""
    content = open_prompt(rng)
    return Group(content, tuple(Picture(prompts.scene_of(content, rng)) for _ in range(PICTURES_A_GROUP)))


def imagined(edits: float, rng: np.random.Generator) -> Group:
    """A group of pictures that are only described: of an edit with probability `edits`, else of a prompt."""
    if rng.random() < edits:
        source, edit = random_edit(rng)
        made = tuple(Picture(mistaken_edit(source, edit, rng)) for _ in range(PICTURES_A_GROUP))
        return Group(to_metadata(source, edit), made, Picture(source))
    content = prompts.random_metadata(str(rng.choice(TAGS)), rng)
    return Group(content, tuple(Picture(varied_scene(content, rng)) for _ in range(PICTURES_A_GROUP)))


class Studio:
    """Makes the pools.

    processor: an image processor of the Qwen-VL family; policy, edit_policy: pipelines, as `load_pipeline` names them, which
    sample on `device` in `num_inference_steps` steps.
    """

    def __init__(
        self, processor: Any, policy: str, edit_policy: str, num_inference_steps: int, device: torch.device, seed: int
    ) -> None:
        self._processor, self._policy, self._edit_policy = processor, policy, edit_policy
        self._steps, self._device, self._seed = num_inference_steps, device, seed

    def pools(self, drawn: int, sampled: int, drawn_edits: int, sampled_edits: int) -> Pools:
        """Pools of so many groups."""
        log.info("drawing %d groups of pictures, and %d of edits", drawn, drawn_edits)
        rng = np.random.default_rng(self._seed)
        groups = self._draw(drawn, rng), self._draw_edits(drawn_edits, rng)
        log.info("sampling %d groups of pictures from policy %s", sampled, self._policy)
        of_prompts = self._sample(sampled, np.random.default_rng((self._seed, 1)))
        log.info("sampling %d groups of edits from policy %s", sampled_edits, self._edit_policy)
        of_edits = self._sample_edits(sampled_edits, np.random.default_rng((self._seed, 2)))
        return Pools(groups[0], of_prompts, groups[1], of_edits)

    def _draw(self, count: int, rng: np.random.Generator) -> list[Group]:
        contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(count)]
        scenes = [varied_scene(content, rng) for content in contents for _ in range(PICTURES_A_GROUP)]
        return self._groups(contents, [draw(s) for s in scenes], scenes)

    def _draw_edits(self, count: int, rng: np.random.Generator) -> list[Group]:
        cases = [random_edit(rng) for _ in range(count)]
        made = [mistaken_edit(*case, rng) for case in cases for _ in range(PICTURES_A_GROUP)]
        return self._edit_groups(cases, [draw(scene) for scene in made], made)

    def _sample(self, count: int, rng: np.random.Generator) -> list[Group]:
        contents = [prompts.random_metadata(TAGS[i % len(TAGS)], rng) for i in range(count)]
        pictures = self._sampled(self._policy, [prompts.describe(c) for c in contents])
        return self._groups(contents, pictures, [detection.detect(picture) for picture in pictures])

    def _sample_edits(self, count: int, rng: np.random.Generator) -> list[Group]:
        cases = [random_edit(rng) for _ in range(count)]
        told = [instruction(edit, int(rng.integers(3))) for _, edit in cases]
        pictures = self._sampled(self._edit_policy, told, [draw(source) for source, _ in cases])
        return self._edit_groups(cases, pictures, [detection.detect(picture) for picture in pictures])

    def _groups(self, contents: list[Any], pictures: list[Image.Image], truths: list[Any]) -> list[Group]:
        made, k = self._pictures(pictures, truths), PICTURES_A_GROUP
        return [Group(content, tuple(made[k * i : k * (i + 1)])) for i, content in enumerate(contents)]

    def _edit_groups(self, cases: list[tuple[Scene, Edit]], pictures: list[Image.Image], truths: list[Any]) -> list[Group]:
        groups = self._groups([to_metadata(*case) for case in cases], pictures, truths)
        scenes = [scene for scene, _ in cases]
        sources = self._pictures([draw(scene) for scene in scenes], scenes)
        return [dataclasses.replace(group, source=source) for group, source in zip(groups, sources, strict=True)]

    def _pictures(self, pictures: list[Image.Image], truths: list[Any]) -> list[Picture]:
        if not pictures:
            return []
        pixels = self._processor(pictures, return_tensors="pt")["pixel_values"].half()
        patches = pixels.view(len(pictures), -1, pixels.shape[-1])
        return [Picture(truth, patch) for patch, truth in zip(patches, truths, strict=True)]

    @torch.no_grad()
    def _sampled(self, policy: str, texts: list[str], sources: list[Image.Image] | None = None) -> list[Image.Image]:
        """`PICTURES_A_GROUP` pictures of each text, one after the other, made from its source where there are sources."""
        if not texts:
            return []
        pipe = load_pipeline(policy, torch.float32, {}).to(self._device)
        pipe.set_progress_bar_config(disable=True)
        wanted = [i for i in range(len(texts)) for _ in range(PICTURES_A_GROUP)]
        generator = torch.Generator().manual_seed(self._seed)
        pictures: list[Image.Image] = []
        for start in range(0, len(wanted), SAMPLED_TOGETHER):
            rows = wanted[start : start + SAMPLED_TOGETHER]
            shown = {"image": [sources[i] for i in rows], "max_area": IMAGE_SIZE**2, "_auto_resize": False} if sources else {}
            pictures += pipe(
                prompt=[texts[i] for i in rows],
                height=IMAGE_SIZE,
                width=IMAGE_SIZE,
                num_inference_steps=self._steps,
                max_sequence_length=MAX_TOKENS,
                generator=generator,
                **shown,
            ).images
        return pictures
