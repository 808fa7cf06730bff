"""What a judge's own vision-language model makes of a picture and its prompt, as a vector; frozen, or with a LoRA."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL.Image import Image
from torch import Tensor, nn

from arr_rpo.judge.asking import hashed
from arr_rpo.judge.forms import GRADES, NoAnswer, example
from arr_rpo.judge.local.model import LocalModel
from arr_rpo.judge.local.rows import padded
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.types import Prompt, UserError

ADAPTER = "adapter"


@dataclass(frozen=True)
class Lora:
    """A LoRA (arXiv 2106.09685) on the vision-language model. target_modules: as in peft's `LoraConfig`; `all-linear` is every
    linear layer of text and vision. lr: of its weights, beside that of the head.
    """

    rank: int
    alpha: int
    target_modules: str | Sequence[str]
    lr: float


class Features:
    """The hidden states of the last layer when the model has read what it is asked before it scores a picture (the text `score`
    of its wording): their mean over all tokens, and that of the last one.

    A judge that describes pictures before it is asked about them (`judge.describe`) has its description in what is read. It is
    written without the LoRA, so that it stays what it was.

    judge: its model in this process. From here on its weights are those of this object, too.
    """

    def __init__(self, judge: VLMJudge) -> None:
        self.asker, self.revision = judge.asker, judge.revision
        self._local: Any = judge.asker.model  # Any: what its parts are depends on the model
        if not isinstance(self._local, LocalModel):
            raise UserError(
                f"a reward model is learned on the features of a model in this process, and judge {judge.name!r} is none: take "
                "judge@module.judge=shapes, qwen3_vl, qwen25_vl or the like"
            )
        self.backbone: Any = self._local.model.base_model  # without the head that names tokens
        self.size = 2 * int(self._local.model.config.get_text_config().hidden_size)

    def adapt(self, adapter: Lora) -> None:
        """Puts a new LoRA into the model."""
        modules = adapter.target_modules
        config = LoraConfig(
            r=adapter.rank, lora_alpha=adapter.alpha, target_modules=modules if isinstance(modules, str) else list(modules)
        )
        self.backbone = get_peft_model(self.backbone, config)

    def load_adapter(self, folder: Path) -> None:
        """Puts the LoRA of a reward model's folder into the model."""
        self.backbone = PeftModel.from_pretrained(self.backbone, folder / ADAPTER, local_files_only=True).eval()

    @property
    def asked(self) -> str:
        """Hash of what else features depend on: the texts, how pictures are shown, and whether they are described."""
        asker = self.asker
        how = {"texts": asker.wording.digest_of("score", "describe"), "model": self._local.settings()["image"]}
        return hashed({**how, "describe": asker.describe and asker.max_description_tokens})

    @property
    def adapted(self) -> bool:
        return isinstance(self.backbone, PeftModel)

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device  # type: ignore[no-any-return]

    def parameters(self) -> list[nn.Parameter]:
        """Those of the LoRA."""
        return [p for p in self.backbone.parameters() if p.requires_grad] if self.adapted else []

    def of(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> tuple[list[int], Tensor]:
        """The rows of the pictures that could be read, and their features (rows, size), float32. All could, unless a
        description failed."""
        with torch.no_grad(), self._as_it_was():
            self.asker.look(prompts, images)
        asked = [
            self.asker.conversation("score", prompt, [image], form=example(GRADES))
            for prompt, image in zip(prompts, images, strict=True)
        ]
        rows = [i for i, one in enumerate(asked) if not isinstance(one, NoAnswer)]
        if not rows:
            return [], torch.empty(0, self.size, device=self.device)
        # Every picture anew: those that describing has encoded are without the LoRA, and without gradients.
        self._local.prefill.forget()
        batch = dict(padded(self._local.processor, self._local.shown([asked[i] for i in rows])).to(self.device))
        mask = batch["attention_mask"]
        positions = self._local.prefill.positions(batch["input_ids"], mask, batch.get("image_grid_thw"))
        hidden_BLH = self.backbone(**batch, position_ids=positions).last_hidden_state.float()
        mean = (hidden_BLH * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return rows, torch.cat([mean, hidden_BLH[:, -1]], 1)  # padded on the left

    @contextlib.contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """Inside, without the LoRA."""
        with self.backbone.disable_adapter() if self.adapted else contextlib.nullcontext():
            yield
