"""A frozen image-text-to-text model in this process: generates text, and fills forms by the probabilities of answer tokens."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch
from PIL.Image import Image

from arr_rpo.judge.asking import Conversation
from arr_rpo.judge.forms import Form, Menu, NoAnswer, Slots, Steps, steps
from arr_rpo.judge.generated import fill_by_generation
from arr_rpo.judge.local.hashed_once import hashed_once
from arr_rpo.judge.local.held import Grammars
from arr_rpo.judge.local.loading import load_model, weights_folder
from arr_rpo.judge.local.prefill import Context, Prefill, SharedPrefill
from arr_rpo.judge.pictures import Pictures
from arr_rpo.judge.replies import THOUGHTS, words
from arr_rpo.judge.written import Written, read_written
from arr_rpo.types import Cost, Reason, UserError

ANSWERS = ("tokens", "generated")


class LocalModel:
    """See `judge.asking.Model`.

    Args:
        checkpoint: a model folder, a name in the local hub cache, or `shapes` for the embedded judge.
        dtype: of the weights that are not quantized, as torch calls it.
        load: `none`, `int8` or `nf4`.
        batch_size: conversations that go through together.
        share_prefixes: whether common beginnings and repeated images are read once. The answers are the same either way.
        image: how pictures are shown.
        answers: how forms are filled. `tokens`: slot by slot, by the probabilities of the choices. `generated`: the whole form
            as text, read strictly, as ARR does.
        max_form_tokens: the longest `generated` form.
        min_choice_mass: probability the menu must hold for an answer to count; below it the answer is a `NoAnswer`.
    """

    def __init__(
        self,
        *,
        checkpoint: str,
        dtype: str,
        device: str,
        load: str,
        batch_size: int,
        share_prefixes: bool,
        answers: str,
        image: Pictures,
        max_form_tokens: int,
        min_choice_mass: float,
    ) -> None:
        self.name, self.min_choice_mass, self._max_form = checkpoint, min_choice_mass, max_form_tokens
        self.image = image
        self.model, self.processor = load_model(checkpoint, dtype, device, load)
        self._work(batch_size, share_prefixes, answers)

    def _work(self, batch_size: int, share_prefixes: bool, answers: str) -> None:
        if answers not in ANSWERS:
            raise UserError(f"judge.model.answers={answers!r} is none of {', '.join(ANSWERS)}")
        self.answers, self.batch_size = answers, batch_size
        self._spelled: dict[str, list[int]] = {}
        prefill = SharedPrefill if share_prefixes else Prefill
        self.prefill: Prefill = prefill(self.model, self.processor, self.name, batch_size)

    def working(self, *, batch_size: int, share_prefixes: bool, answers: str) -> LocalModel:
        """The same weights, working in another way."""
        other = copy.copy(self)
        other._work(batch_size, share_prefixes, answers)
        return other

    def settings(self) -> dict[str, Any]:
        return {"answers": self.answers, "image": asdict(self.image), "min_choice_mass": self.min_choice_mass}

    def revision(self) -> str:
        """A hash of the weights: a rubric's provenance must change when its writer does."""
        config = {key: value for key, value in self.model.config.to_dict().items() if key != "_name_or_path"}
        written = json.dumps(config, sort_keys=True, default=str)
        return hashed_once(weights_folder(self.model.config._name_or_path), written, lambda: self._hash(written))

    def _hash(self, config: str) -> str:
        digest = hashlib.blake2b(config.encode())
        for name, weight in sorted(self.model.state_dict().items()):
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(weight.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def generate(
        self, conversations: Sequence[Conversation], max_new_tokens: int, *, more_follows: bool = False
    ) -> tuple[list[str | NoAnswer], Cost]:
        """See `Model.generate`. The greedy reply; one that is cut at `max_new_tokens` is returned as far as it goes."""
        return self._generate(conversations, max_new_tokens, more_follows=more_follows)

    @torch.no_grad()
    def _generate(
        self,
        conversations: Sequence[Conversation],
        max_new_tokens: int,
        *,
        more_follows: bool = False,
        schemas: Sequence[Mapping[str, Any]] = (),
    ) -> tuple[list[str | NoAnswer], Cost]:
        """`generate`, held to a schema each where there are some."""
        conversations = self.shown(conversations)
        replies: list[str | NoAnswer] = []
        cost = Cost()
        for start in range(0, len(conversations), self.batch_size):
            part = conversations[start : start + self.batch_size]
            batch = self.prefill.inputs(part)
            read = batch["input_ids"].shape[1]
            held = [self.grammars.held(schemas[start : start + len(part)], read)] if schemas else None
            out = self.model.generate(
                **batch,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                logits_processor=held,
                custom_generate=self.prefill.decoding,
            )
            new = out[:, read:]
            texts = self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)
            replies += [_after_thought(text.strip()) for text in texts]
            cost += Cost(len(part), int(batch["attention_mask"].sum()) + self._written(new))
            if not more_follows:
                self.prefill.forget()
        return replies, cost

    def _written(self, new: torch.Tensor) -> int:
        """Tokens up to the end of each reply; what follows is padding."""
        end = self.model.generation_config.eos_token_id
        ends = torch.isin(new, torch.tensor(end, device=new.device)) if end is not None else torch.zeros_like(new)
        return int((ends.cumsum(1) - ends.long() == 0).sum())

    @torch.no_grad()
    def fill(self, conversations: Sequence[Conversation], forms: Sequence[Form]) -> tuple[list[Slots | NoAnswer], list[Cost]]:
        """See `Model.fill`. Forms are filled together, whatever is in them."""
        if self.answers == "generated":
            return fill_by_generation(self.generate, conversations, forms, self._max_form)  # which forgets by itself
        asked = [steps(form) for form in forms]
        answers: list[Slots | NoAnswer] = [[]] * len(forms)
        costs = [Cost()] * len(forms)
        try:
            ids = self._ids(asked)
            for context in self.prefill.contexts(self.shown(conversations), [ids[form[0][0]] for form in asked]):
                filled = self._filled(context, [asked[i] for i in context.rows], ids)
                for i, answer, tokens in zip(context.rows, filled, context.tokens, strict=True):
                    answers[i], costs[i] = answer, Cost(1, tokens)
        finally:
            self.prefill.forget()
        return answers, costs

    def _filled(self, context: Context, asked: Sequence[Steps], ids: Mapping[str, list[int]]) -> list[Slots | NoAnswer]:
        """The slots of each form, in order, each with the most probable choices before it in context; forms leave once full.

        context: has read the texts before the first slots. ids: the tokens of texts and choices.
        """
        slots: list[Slots] = [[] for _ in asked]
        mass = torch.ones(len(asked))
        best = [0] * len(asked)  # the token last chosen, which the model has not read yet
        rows = list(range(len(asked)))  # those whose forms have slots left
        for number in range(max(map(len, asked))):
            if number:
                left = [k for k, row in enumerate(rows) if number < len(asked[row])]
                context.select(left)
                rows = [rows[k] for k in left]
                new = [[best[row], *ids[asked[row][number][0]]] for row in rows]
                self.prefill.step(context, new)
                for row, tokens in zip(rows, new, strict=True):
                    context.tokens[row] += len(tokens)
            probabilities = context.logits_BV.float().softmax(-1).cpu()
            for menu in dict.fromkeys(asked[row][number][1] for row in rows):
                some = [k for k, row in enumerate(rows) if asked[row][number][1] == menu]
                choices, here = [ids[choice][0] for choice in menu], [rows[k] for k in some]
                spelled = [self._spellings(choice, token) for choice, token in zip(menu, choices, strict=True)]
                chosen = torch.stack([probabilities[some][:, tokens].sum(1) for tokens in spelled], 1)
                mass[here] = torch.minimum(mass[here], chosen.sum(1))
                share = chosen / chosen.sum(1, keepdim=True).clamp(min=1e-12)
                for row, shares, first in zip(here, share.tolist(), chosen.argmax(1).tolist(), strict=True):
                    slots[row].append(dict(zip(menu, shares, strict=True)))
                    best[row] = choices[first]
        return [self._accepted(s, float(m), [menu for _, menu in f]) for s, m, f in zip(slots, mass, asked, strict=True)]

    def _accepted(self, slots: Slots, mass: float, asked: Sequence[Menu]) -> Slots | NoAnswer:
        if mass >= self.min_choice_mass:  # a NaN is not
            return slots
        names = ", ".join(sorted({"/".join(menu) for menu in asked}))
        return NoAnswer(Reason.OFF_MENU, f"the menu {names} holds only {mass:.2f} of the probability")

    def write(
        self, conversations: Sequence[Conversation], forms: Sequence[Written], max_new_tokens: int
    ) -> tuple[list[str | NoAnswer], Cost]:
        """See `Model.write`. Held to the form's schema."""
        replies, cost = self._generate(conversations, max_new_tokens, schemas=[form.schema for form in forms])
        objects = [_whole(*read_written(form, reply), max_new_tokens) for form, reply in zip(forms, replies, strict=True)]
        return [text for text, _ in objects], sum((dressed for _, dressed in objects), cost)

    @cached_property
    def grammars(self) -> Grammars:
        """What holds its generation to schemas."""
        vocabulary = self.model.config.get_text_config().vocab_size
        return Grammars(self.processor.tokenizer, vocabulary, self.model.generation_config.eos_token_id)

    def account(self) -> dict[str, Any]:
        """See `Model.account`."""
        return {}

    def shown(self, conversations: Sequence[Conversation]) -> list[Conversation]:
        """With every picture as it is to be seen."""
        seen: dict[int, Image] = {}

        def part(one: Any) -> Any:
            if isinstance(one, str) or one["type"] != "image":
                return one
            image = one["image"]
            if id(image) not in seen:
                seen[id(image)] = self.image.seen(image)
            return {**one, "image": seen[id(image)]}

        if not self.image.name:
            return list(conversations)
        return [[{**turn, "content": [part(one) for one in turn["content"]]} for turn in turns] for turns in conversations]

    def _spellings(self, choice: str, token: int) -> list[int]:
        """The tokens that say a choice: its own, and of a word those of "Yes" and "YES" beside "yes", where each is one."""
        if choice not in self._spelled:
            ways = dict.fromkeys((choice.capitalize(), choice.upper())) if len(choice) > 1 else {}
            tokenizer = self.processor.tokenizer
            read = [tokenizer(way, add_special_tokens=False)["input_ids"] for way in ways]
            more = [ids[0] for ids in read if len(ids) == 1 and ids[0] not in (token, tokenizer.unk_token_id)]
            self._spelled[choice] = [token, *dict.fromkeys(more)]
        return self._spelled[choice]

    def _ids(self, asked: Sequence[Steps]) -> dict[str, list[int]]:
        """The tokens of the texts and choices of forms; a choice is one token, or there is no probability of it."""
        choices = {choice for form in asked for _, menu in form for choice in menu}
        texts = list(choices.union(text for form in asked for text, _ in form))
        if not texts:
            return {}
        read = self.processor.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)
        ids = dict(zip(texts, read["input_ids"], strict=True))
        for choice in choices:
            if len(ids[choice]) != 1:
                raise UserError(
                    f"judge {self.name!r}: the choice {choice!r} is {len(ids[choice])} tokens; answer-token verdicts need one. "
                    "Set judge.model.answers=generated."
                )
        return ids


def _whole(text: str | NoAnswer, cost: Cost, limit: int) -> tuple[str | NoAnswer, Cost]:
    """What is held to a schema is JSON as far as it goes: if it is none, it was cut off."""
    if isinstance(text, NoAnswer) and text.reason is Reason.NOT_JSON:
        return NoAnswer(Reason.CUT_OFF, f"cut off at {limit} tokens: {text}"), cost
    return text, cost


def _after_thought(text: str) -> str | NoAnswer:
    """What stands after a thought, where there is one."""
    if not any(mark in text for marks in THOUGHTS for mark in marks):
        return text
    try:
        return words(text).text
    except NoAnswer as reason:
        return reason
