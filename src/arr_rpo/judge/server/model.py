"""A judge behind an OpenAI-compatible server: vLLM, SGLang, `transformers serve`, or a hosted one."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from PIL.Image import Image
from PIL.Image import new as blank

from arr_rpo.judge.asking import Conversation, user
from arr_rpo.judge.forms import YES_NO, Form, NoAnswer, Slots, example, schema
from arr_rpo.judge.pictures import Pictures
from arr_rpo.judge.reasons import OF_THE_SERVER
from arr_rpo.judge.replies import one_object
from arr_rpo.judge.secrets import headers_of, refuse
from arr_rpo.judge.server.answers import Answered, in_words, whole, written
from arr_rpo.judge.server.cache import ReplyCache
from arr_rpo.judge.server.chat import DataUrls, Request, chat_request, models_request
from arr_rpo.judge.server.client import Client, Patience
from arr_rpo.judge.server.completion import Reply, described, read_models, read_reply
from arr_rpo.judge.server.logprobs import slots_of
from arr_rpo.judge.server.recording import Recorder, Replay
from arr_rpo.judge.server.settings import check_settings
from arr_rpo.judge.server.traffic import Live, api_key
from arr_rpo.judge.votes import mean
from arr_rpo.judge.written import Written
from arr_rpo.types import Cost, UserError

_log = logging.getLogger(__name__)
T = TypeVar("T")
KEPT_PICTURES = 256_000_000  # characters of data URLs


class ServerModel:
    """See `judge.asking.Model`. A conversation that failed in spite of retries is a `NoAnswer` with the reason.

    Args:
        base_url: up to and with `/v1`; what stands after "?" (api-version=...) goes with every request.
        model: its name on the server.
        revision: what changes when the model does: part of the cache's keys. None asks the server, which tells the name, where
            it was loaded from, and who answers: name a revision yourself where the weights behind a name may change.
        api_key_env: the *name* of the environment variable that holds the key; None where none is wanted.
        headers: further headers of every request -> the *name* of the environment variable that holds the value.
        answers: how forms are filled. `generated`: as free text. `schema`: the same, the server held to the form's JSON schema
            (`response_format`; a bare menu, which is no object, is read as it is). `logprobs`: as `schema`, with the
            probability of each choice from the log-probabilities of the tokens in its place.
        parameters: further fields of every request (`temperature`, `seed`, `chat_template_kwargs`, ...).
        fields: other names for fields of ours, such as max_completion_tokens: max_tokens; null leaves one out.
        image: how pictures are shown.
        votes: how often each form is asked, with another `seed` each time; the answer is the mean of those that came.
        thinking_tokens: how many more tokens a reply may have for a thought before it; 0 where no thought is expected.
        max_form_tokens: the longest reply to a form.
        top_logprobs: with `logprobs`, how many tokens are listed for a place.
        min_choice_mass: with `logprobs`, the probability a menu must hold for an answer to count.
        max_open: with `logprobs`, how far apart the bounds of a probability may be that tokens which are not listed leave.
        timeout: seconds for one attempt.
        concurrency, retries, first_wait, max_wait, breaker: see `judge.server.client.Patience`.
        max_reply_bytes, key_over_http: see `judge.server.traffic.Live`.
        check_at_start: whether a question with a picture is asked first, for a word and for an object, so that a server that
            cannot be asked as configured says so before anything else is done.
        cache_dir: where replies are kept, up to cache_mb megabytes; None keeps none.
        record_dir: where all traffic is written; None writes none.
        replay_dir: a recording to answer from, without a server and without a cache; None asks the server.
    """

    elsewhere = True

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        revision: str | None,
        api_key_env: str | None,
        headers: Mapping[str, str] | None,
        answers: str,
        parameters: Mapping[str, Any],
        fields: Mapping[str, str | None],
        image: Pictures,
        votes: int,
        thinking_tokens: int,
        max_form_tokens: int,
        top_logprobs: int,
        min_choice_mass: float,
        max_open: float,
        timeout: float,
        concurrency: int,
        retries: int,
        first_wait: float,
        max_wait: float,
        breaker: int,
        max_reply_bytes: int,
        key_over_http: bool,
        check_at_start: bool,
        cache_dir: str | None,
        cache_mb: float,
        record_dir: str | None,
        replay_dir: str | None,
    ) -> None:
        refuse({"base_url": base_url, "parameters": parameters}, "judge.model")
        check_settings(answers, parameters, votes, thinking_tokens, max_form_tokens, top_logprobs, timeout)
        self.name, self.answers, self.votes = model, answers, votes
        self._parameters, self._fields = dict(parameters), dict(fields)
        self._image, self._urls = image, DataUrls(image, KEPT_PICTURES)
        self._thinking, self._max_form, self._top = thinking_tokens, max_form_tokens, top_logprobs
        self._min_mass, self._max_open, self._timeout = min_choice_mass, max_open, timeout
        self._client = Client(
            Live(
                base_url,
                api_key(api_key_env),
                timeout,
                headers=headers_of(headers or {}),
                max_reply_bytes=max_reply_bytes,
                key_over_http=key_over_http,
            )
            if replay_dir is None
            else Replay(replay_dir),
            Patience(concurrency, retries, first_wait, max_wait, breaker),
            ReplyCache(cache_dir, cache_mb) if cache_dir is not None and replay_dir is None else None,
            Recorder(record_dir) if record_dir is not None else None,
        )
        self._revision, self._check, self._answered_by = revision, check_at_start, Counter[str]()
        self._ready = False

    def revision(self) -> str:
        """From the config, or a hash of what the server says of the model.

        Raises:
            UserError: the server does not answer, does not know the model, or cannot be asked as it is configured.
        """
        if not self._ready:
            self._start()
            self._ready = True
        assert self._revision is not None
        return self._revision

    def generate(
        self, conversations: Sequence[Conversation], max_new_tokens: int, *, more_follows: bool = False
    ) -> tuple[list[str | NoAnswer], Cost]:
        """The reply to each conversation. One that ends at `max_new_tokens` counts, as it does with a model in process."""
        return self._texts([partial(self._ask, c, max_new_tokens, in_words, "text", {}) for c in conversations])

    def write(
        self, conversations: Sequence[Conversation], forms: Sequence[Written], max_new_tokens: int
    ) -> tuple[list[str | NoAnswer], Cost]:
        """See `Model.write`. Held to the form's schema, but with `answers=generated`."""
        return self._texts(
            [
                partial(self._ask, c, max_new_tokens, partial(written, form), form.name, self._held(form.schema))
                for c, form in zip(conversations, forms, strict=True)
            ]
        )

    def fill(self, conversations: Sequence[Conversation], forms: Sequence[Form]) -> tuple[list[Slots | NoAnswer], list[Cost]]:
        """A filled form for each conversation. A reply that ends at `max_form_tokens` is cut off, and no answer."""
        self.revision()
        answered = self._client.run([partial(self._voted, c, form) for c, form in zip(conversations, forms, strict=True)])
        return [slots for slots, _ in answered], [cost for _, cost in answered]

    def settings(self) -> dict[str, Any]:
        asked = {"answers": self.answers, "votes": self.votes, "thinking": self._thinking, "image": asdict(self._image)}
        how = {"parameters": self._parameters, "fields": self._fields}
        return {**asked, **how, "logprobs": [self._top, self._min_mass, self._max_open]}

    def account(self) -> dict[str, Any]:
        """What happened so far: requests, answers from the cache, faults by reason (an attempt each), and who answered."""
        return {**self._client.seen, "answered_by": dict(self._answered_by)}

    def give_up(self) -> None:
        """Ends what is being asked, whose askers get a CancelledError."""
        self._client.give_up()

    def close(self) -> None:
        """Ends the connections."""
        self._client.close()

    def _texts(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, Answered[str]]]]) -> tuple[list[str | NoAnswer], Cost]:
        self.revision()
        answered = self._client.run(jobs)
        return [text for text, _ in answered], sum((cost for _, cost in answered), Cost())

    async def _voted(self, conversation: Conversation, form: Form) -> Answered[Slots]:
        if self.votes == 1:
            return await self._filled(conversation, form, {})
        ballots = [await self._filled(conversation, form, {"seed": vote}, vote) for vote in range(self.votes)]
        return mean([slots for slots, _ in ballots]), sum((cost for _, cost in ballots), Cost())

    async def _filled(self, conversation: Conversation, form: Form, more: Mapping[str, Any], vote: int = 0) -> Answered[Slots]:
        """vote: its number, so that what is kept of one is never the answer of another, also of a server without seeds."""
        name = example(form) + (f" (vote {vote})" if vote else "")
        # A bare menu asks for one word, and a schema wants an object at its root: held to what it was not asked for, a model
        # answers by chance.
        held = self._held(schema(form)) if not isinstance(form, tuple) else {}
        if self.answers != "logprobs":
            look = partial(whole, form)
            return await self._ask(conversation, self._max_form, look, name, {**held, **more})
        wanted = {"logprobs": True, "top_logprobs": self._top}
        most = 1 if isinstance(form, tuple) else self._max_form
        return await self._ask(
            conversation, most, partial(self._weighed, form), f"{name} by logprobs", {**held, **wanted, **more}
        )

    def _held(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        if self.answers == "generated":
            return {}
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": wanted}}}

    def _weighed(self, form: Form, reply: Reply) -> Answered[Slots]:
        if reply.chances is None:
            raise UserError(
                f"judge {self.name!r} at {self._client.transport.where}: the server gives no log-probabilities. "
                "Use judge.model.answers=schema, or generated"
            )
        if isinstance(form, tuple):  # its first token decides, whatever else would have followed
            return slots_of(form, reply.text, reply.chances, self._min_mass, self._max_open), Cost()
        slots, cost = whole(form, reply)
        if isinstance(slots, NoAnswer):
            return slots, cost
        return slots_of(form, one_object(reply.text).text, reply.chances, self._min_mass, self._max_open), cost

    async def _ask(
        self,
        conversation: Conversation,
        max_tokens: int,
        look: Callable[[Reply], Answered[T]],
        form: str,
        more: Mapping[str, Any],
    ) -> Answered[T]:
        """What `look` sees in the reply; `form` says what that is, `more` are further fields of the request."""

        def read(text: str) -> Answered[T]:
            reply = read_reply(text, listed="logprobs" in more)
            cost = Cost(1, reply.tokens, reply.thought)
            self._note_model(reply.model)
            if reply.failure is not None:
                return reply.failure, cost
            answer, dressed = look(reply)
            return answer, cost + dressed

        return await self._client.ask(self._request(conversation, max_tokens, more), read, form, self.revision())

    def _request(self, conversation: Conversation, max_tokens: int, more: Mapping[str, Any]) -> Request:
        fields = {
            "model": self.name,
            **self._parameters,
            "max_completion_tokens": max_tokens + self._thinking,
            **more,
        }
        named = {self._fields.get(key, key): value for key, value in fields.items()}
        return chat_request(conversation, {key: value for key, value in named.items() if key is not None}, self._urls)

    def _note_model(self, model: str) -> None:
        if model and model not in self._answered_by and self._answered_by:
            _log.warning(
                "judge at %s: %r answers where %r answered before: two models stand behind one name",
                *(self._client.transport.where, model, next(iter(self._answered_by))),
            )
        self._answered_by[model] += 1

    def _start(self) -> None:
        """Finds out who is there, and that the server can be asked as it is configured."""
        said: dict[str, str] = {}
        if self._revision is None:
            [models] = self._client.run([lambda: self._client.fetch(models_request(), read_models)])
            said = self._described(models)
        configured, self._revision = self._revision, f"first question {uuid.uuid4().hex}"  # which no cache has an answer to
        self._ready = True  # what follows asks as everything does
        question = [user(_picture(), "Is this picture red? Answer with exactly one word, yes or no.")]
        self._client.alive = self._request(question, self._max_form, {})
        if self._check:
            forms: list[Form] = [YES_NO, {"red": YES_NO}] if self._held({}) else [YES_NO]
            for slots, _ in self._client.run([partial(self._filled, question, form, {}) for form in forms]):
                if isinstance(slots, NoAnswer) and slots.reason in OF_THE_SERVER:  # and nobody knows who would have answered
                    raise UserError(
                        f"judge {self.name!r} at {self._client.transport.where}: no reply to a first question ({slots}). "
                        "See to the server and start again"
                    )
                if isinstance(slots, NoAnswer):
                    _log.warning("judge %r at %s: to a first question, %s", self.name, self._client.transport.where, slots)
            said["answered_by"] = next(iter(self._answered_by), "")
        self._revision = configured or hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]

    def _described(self, models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        if self.name not in models:
            raise UserError(
                f"judge.model.model={self.name!r}: {self._client.transport.where} lists {sorted(models) or 'no model'}. Give "
                "one of these names; where the server knows the model without listing it, set judge.model.revision yourself"
            )
        return dict(described(models[self.name]))


def _picture() -> Image:
    return blank("RGB", (64, 64), (220, 30, 30))
