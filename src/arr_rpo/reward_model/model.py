"""A reward model: features of a vision-language model and a head on them, and the folder that it is kept in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.plain_files import read_json
from arr_rpo.reward_model.features import ADAPTER, Features
from arr_rpo.types import Prompt, UserError
from arr_rpo.whole_files import write_json

CONFIG, HEAD = "reward_model.json", "head.safetensors"


class Head(nn.Module):
    """A number from features: standardised, then a layer of `hidden` units, or none with 0, and a sum.

    mean, std: of the features of the pictures that are learned from; both are kept with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.hidden = hidden
        layers = [nn.Linear(size, hidden), nn.GELU()] if hidden else []
        self.layers = nn.Sequential(*layers, nn.Linear(hidden or size, 1))

    def standardise(self, features_NF: Tensor) -> None:
        """Takes mean and deviation from these features. What never varies there counts as it is."""
        std = features_NF.std(0, correction=0)
        self.mean.copy_(features_NF.mean(0))
        self.std.copy_(std.where(std > 1e-6, 1.0))

    def forward(self, features_NF: Tensor) -> Tensor:
        """(N,) in log-odds: of two pictures the one with a score 1 higher is preferred with the odds e."""
        scores: Tensor = self.layers((features_NF - self.mean) / self.std)
        return scores[:, 0]


class RewardModel:
    """Features and head together."""

    def __init__(self, features: Features, head: Head) -> None:
        self.features, self.head = features, head

    def __call__(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> tuple[list[int], Tensor]:
        """The rows of the pictures that could be read, and their scores."""
        rows, features = self.features.of(prompts, images)
        return rows, self.head(features)

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Writes the folder: the head, the LoRA if there is one, and about both. about: what is said of it besides."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous().cpu() for name, value in self.head.state_dict().items()}, folder / HEAD)
        if self.features.adapted:
            self.features.backbone.save_pretrained(folder / ADAPTER)
        shapes = {"size": self.features.size, "hidden": self.head.hidden, "adapter": self.features.adapted}
        write_json(folder / CONFIG, {**shapes, "judge_revision": self.features.revision, "asked": self.features.asked, **about})

    @classmethod
    def load(cls, folder: Path, judge: VLMJudge) -> RewardModel:
        """The model of a folder, on the judge whose features it was learned on.

        Raises:
            UserError: there is none, or the judge is another.
        """
        try:
            about = read_json(folder / CONFIG)
            head, weights = Head(about["size"], about["hidden"]), load_file(folder / HEAD)
            adapted, revision = bool(about["adapter"]), about["judge_revision"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{folder} is no reward model ({type(error).__name__}: {error}): give the folder reward_model of a run of "
                "experiment=reward_model"
            ) from error
        features = Features(judge)
        if (features.size, features.revision) != (about["size"], revision):
            raise UserError(
                f"{folder} was learned on the features of another judge (revision {revision}) than {judge.name!r} (revision "
                f"{features.revision}): give that one as judge@reward.protocol.judge=..."
            )
        if about.get("asked", features.asked) != features.asked:  # a folder of before does not say
            raise UserError(
                f"{folder} was learned on features of {judge.name!r} as it was asked otherwise: its describe, "
                "max_description_tokens, texts or model.image differ from those of the run that learned it (its config.yaml "
                "has them under module.judge)"
            )
        head.load_state_dict(weights)
        if adapted:
            features.load_adapter(folder)
        return cls(features, head.eval().requires_grad_(False).to(features.device))
