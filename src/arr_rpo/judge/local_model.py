"""A frozen image-text-to-text model: generates text, and fills forms by the probabilities of answer tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from arr_rpo.judge.forms import Form, outline
from arr_rpo.judge.processor import Qwen3VLProcessor
from arr_rpo.types import Cost, UserError

SHAPES_JUDGE = Path(__file__).parents[1] / "shapes" / "weights" / "judge"
Slots = list[dict[str, float]]  # for each slot of a form, the probability of each choice


class OutsideChoicesError(Exception):
    """The model puts its probability on tokens that are not on the menu."""


class LocalModel:
    """A model with its processor. Conversations are lists of chat messages; `batch_size` of them go through at once.

    min_choice_mass: probability the menu must hold for an answer to count; below it the answer is an `OutsideChoicesError`.
    """

    def __init__(self, checkpoint: str, dtype: str, device: str, batch_size: int, min_choice_mass: float) -> None:
        source = str(SHAPES_JUDGE) if checkpoint == "shapes" else checkpoint
        self.name, self.batch_size, self.min_choice_mass = checkpoint, batch_size, min_choice_mass
        self.model, self.processor = _load(checkpoint, source, getattr(torch, dtype))
        self.model.requires_grad_(False).eval().to(device)
        self.processor.tokenizer.padding_side = "left"

    def revision(self) -> str:
        """A hash of the weights: a rubric's provenance must change when its writer does."""
        config = {key: value for key, value in self.model.config.to_dict().items() if key != "_name_or_path"}
        digest = hashlib.blake2b(json.dumps(config, sort_keys=True, default=str).encode())
        for name, weight in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(weight.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def encode(self, conversations: Sequence[Any]) -> Any:
        return self.processor.apply_chat_template(
            list(conversations),
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        ).to(self.model.device)

    @torch.no_grad()
    def generate(self, conversations: Sequence[Any], max_new_tokens: int) -> tuple[list[str], Cost]:
        """The greedy reply to each conversation, as text."""
        texts: list[str] = []
        cost = Cost()
        for part in _parts(conversations, self.batch_size):
            batch = self.encode(part)
            out = self.model.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False)
            new = out[:, batch["input_ids"].shape[1] :]
            texts += [text.strip() for text in self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)]
            cost += Cost(len(part), int(batch["attention_mask"].sum()) + new.numel())
        return texts, cost

    def fill(self, conversations: Sequence[Any], forms: Sequence[Form]) -> tuple[list[Slots | OutsideChoicesError], list[Cost]]:
        """Fills a form for each conversation; those whose forms have one outline go through the model together."""
        answers: list[Any] = [None] * len(forms)
        costs = [Cost()] * len(forms)
        for shape in dict.fromkeys(map(outline, forms)):
            rows = [i for i, form in enumerate(forms) if outline(form) == shape]
            for part in _parts(rows, self.batch_size):
                slots, tokens = self.fill_batch([conversations[i] for i in part], [forms[i] for i in part])
                for i, filled, count in zip(part, slots, tokens, strict=True):
                    answers[i], costs[i] = filled, Cost(1, count)
        return answers, costs

    @torch.no_grad()
    def fill_batch(
        self, conversations: Sequence[Any], forms: Sequence[Form]
    ) -> tuple[list[Slots | OutsideChoicesError], list[int]]:
        batch = self.encode(conversations)
        out = self.model(**batch, use_cache=True, logits_to_keep=1)
        mask, cache = batch["attention_mask"], out.past_key_values
        delta = getattr(self.model.model, "rope_deltas", None)  # M-RoPE: an image takes fewer positions than tokens
        position = mask.sum(1, keepdim=True) + (0 if delta is None else delta.to(mask.device))
        slots: list[Slots] = [[] for _ in forms]
        mass = torch.ones(len(forms))
        pending: list[list[int]] = [[] for _ in forms]  # tokens of each reply that the model has not read yet
        for pieces in zip(*forms, strict=True):
            if isinstance(pieces[0], str):
                pending = [tokens + self.tokens(text) for tokens, text in zip(pending, pieces, strict=True)]
                continue
            if any(pending):
                ids, new = _left_padded(pending, mask.device)
                mask = torch.cat([mask, new], 1)
                out = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=(position + (new.cumsum(1) - 1).clamp(min=0))[None].expand(3, -1, -1),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                position = position + new.sum(1, keepdim=True)
            probabilities = out.logits[:, -1].float().softmax(-1).cpu()
            menu = [self.one_token(choice) for choice in pieces[0]]
            chosen = probabilities[:, menu]
            mass = torch.minimum(mass, chosen.sum(1))
            share = chosen / chosen.sum(1, keepdim=True).clamp(min=1e-12)
            for row, row_slots in enumerate(slots):
                row_slots.append(dict(zip(pieces[0], share[row].tolist(), strict=True)))
            pending = [[menu[best]] for best in chosen.argmax(1).tolist()]
        counts = mask.sum(1).tolist()
        return [self.accept(s, float(m), f) for s, m, f in zip(slots, mass, forms, strict=True)], counts

    def accept(self, slots: Slots, mass: float, form: Form) -> Slots | OutsideChoicesError:
        if not mass >= self.min_choice_mass:  # also catches NaN
            menus = sorted({"/".join(piece) for piece in form if isinstance(piece, tuple)})
            return OutsideChoicesError(f"the menu {', '.join(menus)} holds only {mass:.2f} of the probability")
        return slots

    def tokens(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False).input_ids)

    def one_token(self, choice: str) -> int:
        ids = self.tokens(choice)
        if len(ids) != 1:
            raise UserError(f"judge {self.name!r}: the choice {choice!r} is {len(ids)} tokens; answer-token verdicts need one")
        return ids[0]


def _left_padded(rows: Sequence[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, L) ids and mask; padding stands on the left, so that every row ends in the last column."""
    length = max(map(len, rows))
    ids = [[0] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _load(checkpoint: str, source: str, dtype: torch.dtype) -> tuple[Any, Any]:
    try:
        model = AutoModelForImageTextToText.from_pretrained(source, dtype=dtype, local_files_only=True)
        is_qwen3 = model.config.model_type == "qwen3_vl"
        reader = Qwen3VLProcessor if is_qwen3 else AutoProcessor
        return model, reader.from_pretrained(source, local_files_only=True)
    except Exception as error:
        raise UserError(
            f"judge.checkpoint={checkpoint!r}: no readable image-text-to-text model in {source} "
            f"({type(error).__name__}: {error}). Give a model folder, download the checkpoint into the local cache first "
            "(`hf download ...`), or restore the embedded weights with `git checkout -- src/arr_rpo/shapes/weights`."
        ) from error
