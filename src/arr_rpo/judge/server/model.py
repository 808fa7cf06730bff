"""A judge behind an OpenAI-compatible server: vLLM, SGLang, `transformers serve`, or a hosted one."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from arr_rpo.judge.asking import Conversation, assistant
from arr_rpo.judge.forms import JSON_SPACE, Form, Menu, NoAnswer, Slots, example, pieces, schema
from arr_rpo.judge.generated import filled
from arr_rpo.judge.server.cache import ReplyCache
from arr_rpo.judge.server.chat import Reply, chat_request, models_request, read_models, read_reply
from arr_rpo.judge.server.client import Answered, Client, Patience
from arr_rpo.judge.server.recording import Recorder, Replay
from arr_rpo.judge.server.traffic import Live, api_key
from arr_rpo.strict_json import short
from arr_rpo.types import Cost, UserError

ANSWERS = ("generated", "schema", "logprobs")
T = TypeVar("T")
MOST_LOGPROBS = 20  # the most that OpenAI and, by default, vLLM give
CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}  # vLLM and SGLang: go on with the last turn


class ServerModel:
    """See `judge.asking.Model`. A conversation that failed in spite of retries is a `NoAnswer` with the reason.

    Args:
        base_url: up to and with `/v1`.
        model: its name on the server.
        revision: what changes when the model does: part of the cache's keys. None asks the server, which tells the name and
            where it was loaded from: name a revision yourself where the weights behind a name may change.
        api_key_env: the *name* of the environment variable that holds the key; None where none is wanted.
        answers: how forms are filled. `generated`: as free text, read strictly. `schema`: the same, the server held to the
            form's JSON schema (`response_format`; a bare menu is read as it is, without one). `logprobs`: slot by
            slot, the probability of each choice among the next token's (one request a slot; wants a server that goes on with
            the assistant's turn, vLLM or SGLang, and choices of one token; one that is not among the 20 most probable counts
            as impossible).
        parameters: further fields of every request (`temperature`, `seed`, `chat_template_kwargs`, ...).
        max_form_tokens: the longest reply to a form.
        min_choice_mass: with `logprobs`, the probability a menu must hold for an answer to count.
        timeout: seconds for one attempt.
        concurrency, retries, first_wait, max_wait, breaker: see `judge.client.Patience`.
        cache_dir: where replies are kept; None keeps none.
        record_dir: where all traffic is written; None writes none.
        replay_dir: a recording to answer from, without a server and without a cache; None asks the server.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        revision: str | None,
        api_key_env: str | None,
        answers: str,
        parameters: Mapping[str, Any],
        max_form_tokens: int,
        min_choice_mass: float,
        timeout: float,
        concurrency: int,
        retries: int,
        first_wait: float,
        max_wait: float,
        breaker: int,
        cache_dir: str | None,
        record_dir: str | None,
        replay_dir: str | None,
    ) -> None:
        if answers not in ANSWERS:
            raise UserError(f"judge.model.answers={answers!r}: it is one of {', '.join(ANSWERS)}")
        self.name, self.answers, self.min_choice_mass = model, answers, min_choice_mass
        self._parameters, self._max_form = dict(parameters), max_form_tokens
        self._client = Client(
            Live(base_url, api_key(api_key_env), timeout) if replay_dir is None else Replay(replay_dir),
            Patience(concurrency, retries, first_wait, max_wait, breaker),
            ReplyCache(cache_dir) if cache_dir is not None and replay_dir is None else None,
            Recorder(record_dir) if record_dir is not None else None,
        )
        self._revision = revision

    def revision(self) -> str:
        """From the config, or a hash of what the server says of the model.

        Raises:
            UserError: the server does not answer, or does not know the model.
        """
        if self._revision is None:
            [models] = self._client.run([lambda: self._client.fetch(models_request(), read_models)])
            self._revision = _revision_of(self.name, models, self._client.transport.where)
        return self._revision

    def generate(
        self, conversations: Sequence[Conversation], max_new_tokens: int, *, more_follows: bool = False
    ) -> tuple[list[str | NoAnswer], Cost]:
        """The reply to each conversation. One that ends at `max_new_tokens` counts, as it does with a model in process."""
        self.revision()
        answered = self._client.run([partial(self._ask, c, max_new_tokens, _text, "text", {}) for c in conversations])
        return [text for text, _ in answered], sum((cost for _, cost in answered), Cost())

    def fill(self, conversations: Sequence[Conversation], forms: Sequence[Form]) -> tuple[list[Slots | NoAnswer], list[Cost]]:
        """A filled form for each conversation. A reply that ends at `max_form_tokens` is cut off, and no answer."""
        self.revision()
        fill = {"generated": self._generated, "schema": self._held_to_schema, "logprobs": self._by_logprobs}[self.answers]
        answered = self._client.run([partial(fill, c, form) for c, form in zip(conversations, forms, strict=True)])
        return [slots for slots, _ in answered], [cost for _, cost in answered]

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    async def _ask(
        self,
        conversation: Conversation,
        max_tokens: int,
        look: Callable[[Reply], T | NoAnswer],
        form: str,
        more: Mapping[str, Any],
    ) -> Answered[T]:
        """What `look` sees in the reply; `form` says what that is, `more` are further fields of the request."""
        fixed = {"model": self.name, **self._parameters, "max_completion_tokens": max_tokens}

        def read(text: str) -> Answered[T]:
            reply = read_reply(text)
            return look(reply), Cost(1, reply.tokens)

        return await self._client.ask(chat_request(conversation, {**fixed, **more}), read, form, self.revision())

    async def _generated(self, conversation: Conversation, form: Form) -> Answered[Slots]:
        return await self._ask(conversation, self._max_form, partial(_read_whole, form), example(form), {})

    async def _held_to_schema(self, conversation: Conversation, form: Form) -> Answered[Slots]:
        if isinstance(form, tuple):
            # The question asks for one word, and a schema wants an object at its root: held to what it was not asked for, a
            # model answers by chance.
            return await self._generated(conversation, form)
        held = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema(form)}}
        look = partial(_read_whole, form)
        return await self._ask(conversation, self._max_form, look, example(form), {"response_format": held})

    async def _by_logprobs(self, conversation: Conversation, form: Form) -> Answered[Slots]:
        """Each slot with the reply so far, in which the most probable choices stand, in the assistant's mouth."""
        said, slots, cost = "", [], Cost()
        for piece in pieces(form):
            if isinstance(piece, str):
                said += piece
                continue
            turns, more = ([*conversation, assistant(said)], CONTINUE) if said else (conversation, {})
            wanted = {"logprobs": True, "top_logprobs": MOST_LOGPROBS, **more}
            slot, spent = await self._ask(turns, 1, partial(self._slot, piece), "/".join(piece), wanted)
            cost += spent
            if isinstance(slot, NoAnswer):
                return slot, cost
            slots.append(slot)
            said += max(slot, key=slot.__getitem__)
        return slots, cost

    def _slot(self, menu: Menu, reply: Reply) -> dict[str, float] | NoAnswer:
        if reply.top_logprobs is None:
            raise UserError(
                f"judge {self.name!r} at {self._client.transport.where}: the server gives no log-probabilities. "
                "Use judge.model.answers=schema, or generated"
            )
        chances = {choice: _chance(choice, menu, reply.top_logprobs) for choice in menu}
        mass = sum(chances.values())
        if not mass >= self.min_choice_mass or mass == 0:
            return NoAnswer(f"the menu {'/'.join(menu)} holds only {mass:.2f} of the probability")
        return {choice: p / mass for choice, p in chances.items()}


def _chance(choice: str, menu: Menu, logprobs: Mapping[str, float]) -> float:
    """Probability that the reply begins with the choice: its own token's, or, where it is several tokens ("NA"), that of a
    first one with which no other choice of the menu begins."""
    others = [other for other in menu if other != choice]
    begins = [t for t in logprobs if t and choice.startswith(t) and not any(other.startswith(t) for other in others)]
    return sum(math.exp(logprobs[token]) for token in {choice, *begins} & set(logprobs))


def _text(reply: Reply) -> str | NoAnswer:
    return reply.text.strip() or NoAnswer("an empty reply")


def _read_whole(form: Form, reply: Reply) -> Slots | NoAnswer:
    text = reply.text.strip(JSON_SPACE)
    if not text:
        return NoAnswer("an empty reply")
    if reply.cut:
        return NoAnswer(f"the reply was cut off at the token limit: {short(text)}")
    return filled(form, text)


def _revision_of(name: str, models: Mapping[str, Mapping[str, Any]], where: str) -> str:
    if name not in models:
        raise UserError(
            f"judge.model.model={name!r}: {where} lists {sorted(models) or 'no model'}. Give one of these names; where the "
            "server knows the model without listing it, set judge.model.revision yourself"
        )
    # Not `created` and `permission`, which vLLM makes anew at each start.
    said = {key: models[name].get(key) for key in ("id", "root", "parent", "owned_by", "max_model_len")}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]
