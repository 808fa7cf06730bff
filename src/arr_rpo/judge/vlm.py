"""A frozen vision-language model of transformers as judge: free text where text is wanted, answer tokens elsewhere.

`describe: true` lets the model name what it sees in each image first (once an image, kept by content) and puts that into
the conversation before the question: critique before verdict.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from arr_rpo.judge.base import Pair, settle
from arr_rpo.judge.forms import A_B, GRADES, YES_NO, Form, critique, outline
from arr_rpo.judge.processor import Qwen3VLProcessor
from arr_rpo.judge.wording import Wording, render
from arr_rpo.types import Cost, CriterionCheck, Outcome, Prompt, Rubric, Score, UserError, Verdict

log = logging.getLogger(__name__)
SHAPES_JUDGE = Path(__file__).parents[1] / "shapes" / "weights" / "judge"
Slots = list[dict[str, float]]  # for each slot of a form, the probability of each choice


class OutsideChoicesError(Exception):
    """The model puts its probability on tokens that are not on the menu."""


class VLMJudge:
    """Any image-text-to-text model. Its parameters belong to nobody's optimizer and nobody's checkpoint.

    Args:
        checkpoint: a model folder or a hub id in the local cache; "shapes" is the embedded judge.
        wording: the texts it is asked with (`judge/wordings`).
        describe: whether it describes each image before it is asked about it.
        batch_size: conversations in one forward pass.
        tie_margin: distance from one half within which a pair is a tie.
        min_choice_mass: probability the menu must hold for an answer to count; below it the answer is a failure.
    """

    def __init__(
        self,
        *,
        checkpoint: str,
        wording: str,
        describe: bool,
        dtype: str,
        device: str,
        batch_size: int,
        tie_margin: float,
        min_choice_mass: float,
        max_description_tokens: int,
        max_rubric_tokens: int,
    ) -> None:
        source = str(SHAPES_JUDGE) if checkpoint == "shapes" else checkpoint
        self.model, self.processor = _load(checkpoint, source, getattr(torch, dtype))
        self.model.requires_grad_(False).eval().to(device)
        self.processor.tokenizer.padding_side = "left"
        self.wording, self.describe, self.batch_size = Wording(wording), describe, batch_size
        self.tie_margin, self.min_choice_mass = tie_margin, min_choice_mass
        self._max_description, self._max_rubric = max_description_tokens, max_rubric_tokens
        self.name = checkpoint
        self.revision = _revision(self.model)
        self._seen: dict[str, str] = {}

    # -- the roles ----------------------------------------------------------------------------------------------------

    def compare(self, prompts: Sequence[Prompt], pairs: Sequence[Pair], rubrics: Sequence[Rubric | None]) -> list[Verdict]:
        """See `Judge.compare`. One call an order; the reply names for each criterion who meets it, then the better image."""
        description_cost = self._describe([image for pair in pairs for image in pair])
        verdicts: list[Verdict] = []
        requests = [
            (self._conversation(order, self._comparison(prompt, rubric)), _form(rubric))
            for prompt, (a, b), rubric in zip(prompts, pairs, rubrics, strict=True)
            for order in ((a, b), (b, a))
        ]
        answers, costs = self._fill([r[0] for r in requests], [r[1] for r in requests])
        for i, rubric in enumerate(rubrics):
            cost = costs[2 * i] + costs[2 * i + 1]
            if i == 0:
                cost += description_cost
            verdicts.append(self._verdict(answers[2 * i], answers[2 * i + 1], rubric, cost))
        return verdicts

    def score(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[Score]:
        """See `Judge.score`. The expected value over the five grade tokens."""
        first_cost = self._describe(images)
        conversations = [
            self._conversation([image], self.wording("score", prompt=prompt.text))
            for prompt, image in zip(prompts, images, strict=True)
        ]
        scores = []
        for index, (slots, cost) in enumerate(zip(*self._fill(conversations, [(GRADES,)] * len(images)), strict=True)):
            total = cost + first_cost if index == 0 else cost
            if isinstance(slots, OutsideChoicesError):
                scores.append(Score(None, total, str(slots)))
            else:
                scores.append(Score(sum(int(grade) * p for grade, p in slots[0].items()), total))
        return scores

    def check(self, images: Sequence[Image], questions: Sequence[str]) -> list[float | None]:
        """See `Judge.check`."""
        self._describe(images)
        conversations = [
            self._conversation([image], self.wording("check", question=question))
            for image, question in zip(images, questions, strict=True)
        ]
        answers, _ = self._fill(conversations, [(YES_NO,)] * len(images))
        return [None if isinstance(slots, OutsideChoicesError) else slots[0]["yes"] for slots in answers]

    def write(self, prompts: Sequence[str]) -> tuple[list[str], Cost]:
        """See `Judge.write`."""
        conversations = [[_user(self.wording("write", prompt=prompt))] for prompt in prompts]
        return self._generate(conversations, self._max_rubric)

    def write_template(self) -> str:
        return self.wording.digest("write")

    def descriptions(self, images: Sequence[Image]) -> list[str]:
        """What the model says it sees in each image."""
        self._describe(images)
        return [self._seen[_digest(image)] for image in images]

    # -- how they are asked -------------------------------------------------------------------------------------------

    def _comparison(self, prompt: Prompt, rubric: Rubric | None) -> str:
        if rubric is None:
            return self.wording("compare", prompt=prompt.text)
        return self.wording("compare_rubric", prompt=prompt.text, rubric=render(rubric))

    def _verdict(self, first: Any, second: Any, rubric: Rubric | None, cost: Cost) -> Verdict:
        for answer in (first, second):
            if isinstance(answer, OutsideChoicesError):
                return Verdict(Outcome.FAILED, None, cost=cost, reason=str(answer))
        criteria = rubric.criteria if rubric else ()
        checks = tuple(
            CriterionCheck(
                c.name,
                c.question,
                a=(first[2 * k]["yes"] + second[2 * k + 1]["yes"]) / 2,
                b=(first[2 * k + 1]["yes"] + second[2 * k]["yes"]) / 2,
            )
            for k, c in enumerate(criteria)
        )
        return settle(first[-1]["A"], second[-1]["B"], self.tie_margin, checks, cost)

    def _conversation(self, images: Sequence[Image], question: str) -> list[dict[str, Any]]:
        """The images, each with its letter where there are several and followed by its description, then the question."""
        letters = [self.wording("label", letter=letter) for letter in "AB"] if len(images) > 1 else [""]
        if not self.describe:
            shown = [part for letter, image in zip(letters, images, strict=True) for part in (letter, image)]
            return [_user(*shown, question)]
        turns = []
        for letter, image in zip(letters, images, strict=True):
            description = {"role": "assistant", "content": self._seen[_digest(image)]}
            turns += [_user(letter, image, self.wording("describe")), description]
        return [*turns, _user(question)]

    def _describe(self, images: Sequence[Image]) -> Cost:
        """Makes sure that each image's description is known. The memory holds the images of one call only."""
        if not self.describe:
            return Cost()
        new = {_digest(image): image for image in images}
        self._seen = {key: text for key, text in self._seen.items() if key in new}
        unknown = [key for key in new if key not in self._seen]
        if not unknown:
            return Cost()
        texts, cost = self._generate([[_user(new[key], self.wording("describe"))] for key in unknown], self._max_description)
        self._seen.update(zip(unknown, texts, strict=True))
        return cost

    # -- how the model is run -----------------------------------------------------------------------------------------

    def _encode(self, conversations: Sequence[Any]) -> Any:
        return self.processor.apply_chat_template(
            list(conversations),
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        ).to(self.model.device)

    @torch.no_grad()
    def _generate(self, conversations: Sequence[Any], max_new_tokens: int) -> tuple[list[str], Cost]:
        texts: list[str] = []
        cost = Cost()
        for part in _parts(conversations, self.batch_size):
            batch = self._encode(part)
            out = self.model.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False)
            new = out[:, batch["input_ids"].shape[1] :]
            texts += [text.strip() for text in self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)]
            cost += Cost(len(part), int(batch["attention_mask"].sum()) + new.numel())
        return texts, cost

    def _fill(
        self, conversations: Sequence[Any], forms: Sequence[Form]
    ) -> tuple[list[Slots | OutsideChoicesError], list[Cost]]:
        """Fills a form for each conversation; those whose forms have one outline go through the model together."""
        answers: list[Any] = [None] * len(forms)
        costs = [Cost()] * len(forms)
        for shape in dict.fromkeys(map(outline, forms)):
            rows = [i for i, form in enumerate(forms) if outline(form) == shape]
            for part in _parts(rows, self.batch_size):
                slots, tokens = self._fill_batch([conversations[i] for i in part], [forms[i] for i in part])
                for i, filled, count in zip(part, slots, tokens, strict=True):
                    answers[i], costs[i] = filled, Cost(1, count)
        return answers, costs

    @torch.no_grad()
    def _fill_batch(
        self, conversations: Sequence[Any], forms: Sequence[Form]
    ) -> tuple[list[Slots | OutsideChoicesError], list[int]]:
        batch = self._encode(conversations)
        out = self.model(**batch, use_cache=True, logits_to_keep=1)
        mask, cache = batch["attention_mask"], out.past_key_values
        delta = getattr(self.model.model, "rope_deltas", None)  # M-RoPE: an image takes fewer positions than tokens
        position = mask.sum(1, keepdim=True) + (0 if delta is None else delta.to(mask.device))
        slots: list[Slots] = [[] for _ in forms]
        mass = torch.ones(len(forms))
        pending: list[list[int]] = [[] for _ in forms]  # tokens of each reply that the model has not read yet
        for pieces in zip(*forms, strict=True):
            if isinstance(pieces[0], str):
                pending = [tokens + self._tokens(text) for tokens, text in zip(pending, pieces, strict=True)]
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
            menu = [self._one_token(choice) for choice in pieces[0]]
            chosen = probabilities[:, menu]
            mass = torch.minimum(mass, chosen.sum(1))
            share = chosen / chosen.sum(1, keepdim=True).clamp(min=1e-12)
            for row, row_slots in enumerate(slots):
                row_slots.append(dict(zip(pieces[0], share[row].tolist(), strict=True)))
            pending = [[menu[best]] for best in chosen.argmax(1).tolist()]
        counts = mask.sum(1).tolist()
        return [self._accept(s, float(m), f) for s, m, f in zip(slots, mass, forms, strict=True)], counts

    def _accept(self, slots: Slots, mass: float, form: Form) -> Slots | OutsideChoicesError:
        if not mass >= self.min_choice_mass:  # also catches NaN
            menus = sorted({"/".join(piece) for piece in form if isinstance(piece, tuple)})
            return OutsideChoicesError(f"the menu {', '.join(menus)} holds only {mass:.2f} of the probability")
        return slots

    def _tokens(self, text: str) -> list[int]:
        return list(self.processor.tokenizer(text, add_special_tokens=False).input_ids)

    def _one_token(self, choice: str) -> int:
        ids = self._tokens(choice)
        if len(ids) != 1:
            raise UserError(f"judge {self.name!r}: the choice {choice!r} is {len(ids)} tokens; answer-token verdicts need one")
        return ids[0]


def _user(*parts: str | Image) -> dict[str, Any]:
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image", "image": p} for p in parts if p != ""]
    return {"role": "user", "content": content}


def _form(rubric: Rubric | None) -> Form:
    return critique([c.question for c in rubric.criteria]) if rubric else (A_B,)


def _left_padded(rows: Sequence[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, L) ids and mask; padding stands on the left, so that every row ends in the last column."""
    length = max(map(len, rows))
    ids = [[0] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _digest(image: Image) -> str:
    return hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).hexdigest()


def _revision(model: Any) -> str:
    """A hash of the weights: a rubric's provenance must change when its writer does."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True, default=str).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(weight.shape)}{float(weight.double().sum()):.12e}".encode())
    return digest.hexdigest()[:16]


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
