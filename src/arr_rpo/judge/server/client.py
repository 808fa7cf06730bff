"""Asking a server many things at once: one event loop, bounded concurrency, retries, a breaker, a cache, a recording."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import tenacity

from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.server.cache import ReplyCache
from arr_rpo.judge.server.chat import MalformedResponse, Request
from arr_rpo.judge.server.recording import Recorder
from arr_rpo.judge.server.traffic import Exchange, Transport
from arr_rpo.strict_json import short
from arr_rpo.types import Cost, UserError

_log = logging.getLogger(__name__)
T = TypeVar("T")
Answered: TypeAlias = "tuple[T | NoAnswer, Cost]"

BUSY = (408, 409, 425, 429)  # as every status of 500 and more: it may go better the next time
NOT_MENDED_BY_ASKING = {
    401: "it wants an API key: name the variable that holds it in judge.model.api_key_env",
    403: "it does not let this API key in (judge.model.api_key_env)",
    404: "it does not know the address or the model: see judge.model.base_url and judge.model.model; one that lists no models "
    "wants a name for what it serves in judge.model.revision",
    405: "it does not know the address: see judge.model.base_url",
}


@dataclass(frozen=True)
class Patience:
    """How much trouble is borne.

    concurrency: conversations under way at once. retries: attempts beyond the first. first_wait: seconds before the first
    retry, doubled for each further one, up to `max_wait`; a server that asks for a longer wait is given up on.
    breaker: conversations in a row that fail in spite of retries before the run is stopped.
    """

    concurrency: int
    retries: int
    first_wait: float
    max_wait: float
    breaker: int


class Client:
    """See `ask`. `run` is for the outside, which is synchronous; everything else happens on the loop of one thread."""

    def __init__(self, transport: Transport, patience: Patience, cache: ReplyCache | None, recorder: Recorder | None) -> None:
        self.transport, self.patience, self.cache, self.recorder = transport, patience, cache, recorder
        self._failed_in_a_row = 0
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="judge-client", daemon=True).start()

    def run(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """The result of each job, `concurrency` of them under way at once. The first error ends them all."""
        future = asyncio.run_coroutine_threadsafe(self._gather(jobs), self._loop)
        try:
            return future.result()
        except BaseException:  # an interrupt, too, must not leave requests under way
            future.cancel()
            raise

    def close(self) -> None:
        """Ends the connections and the loop."""
        asyncio.run_coroutine_threadsafe(self.transport.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def ask(self, request: Request, read: Callable[[str], Answered[T]], form: str, revision: str) -> Answered[T]:
        """What `read` makes of the response to `request`; from the cache where it has been read before.

        Args:
            read: raises `MalformedResponse` where the response should be asked for again.
            form: what `read` looks for, and `revision`, that of the model: both part of the reply's identity.

        Raises:
            UserError: the server cannot be used as it is configured, or too many requests failed in a row.
        """
        key = hashlib.sha256(json.dumps([revision, form, request.digest]).encode()).hexdigest()
        if (known := self._known(key, request, read)) is not None:
            return known
        try:
            text, answer = await self._persist(request, read)
        except _Failed as failure:
            self._note_failure(failure)
            return NoAnswer(str(failure)), Cost()
        self._failed_in_a_row = 0
        if self.cache and not isinstance(answer[0], NoAnswer):
            self.cache.put(key, text)
        return answer

    def _known(self, key: str, request: Request, read: Callable[[str], Answered[T]]) -> Answered[T] | None:
        text = self.cache.get(key) if self.cache else None
        if text is None:
            return None
        try:
            answer = read(text)
        except MalformedResponse:
            return None
        if isinstance(answer[0], NoAnswer):  # read by a stricter reader than the one that kept it
            return None
        self._record(request, Exchange(200, text, 0.0, cached=True))
        return answer

    async def fetch(self, request: Request, read: Callable[[str], T]) -> T:
        """What `read` makes of the response to a request that nothing goes without. Never from the cache.

        Raises:
            UserError: no usable response in spite of retries.
        """
        try:
            return (await self._persist(request, read))[1]
        except _Failed as failure:
            raise UserError(
                f"judge at {self.transport.where} does not answer {request.path}: {failure}. Start the server, or mend "
                "judge.model.base_url"
            ) from None

    async def _gather(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        free, stopped = asyncio.Semaphore(self.patience.concurrency), asyncio.Event()

        async def one(job: Callable[[], Coroutine[Any, Any, T]]) -> T:
            async with free:
                if stopped.is_set():  # whoever waited must not ask in the moment before it is cancelled
                    raise asyncio.CancelledError
                try:
                    return await job()
                except BaseException:
                    stopped.set()
                    raise

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(job)) for job in jobs]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _persist(self, request: Request, read: Callable[[str], T]) -> tuple[str, T]:
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_MayPass),
            stop=tenacity.stop_after_attempt(self.patience.retries + 1),
            wait=self._wait,
            before_sleep=_say_what_happened,
            reraise=True,
        )
        try:
            return await attempts(self._attempt, request, read)
        except _MayPass as failure:
            raise _Failed(f"{failure} ({self.patience.retries + 1} attempts)") from None

    async def _attempt(self, request: Request, read: Callable[[str], T]) -> tuple[str, T]:
        exchange = await self.transport.send(request)
        self._record(request, exchange)
        status, said = exchange.status, short(exchange.text)
        if status is None or status in BUSY or status >= 500:
            what = said if status is None else f"status {status}: {said}"
            if (exchange.retry_after or 0.0) > self.patience.max_wait:
                raise _Failed(f"{what} (it asks to wait {exchange.retry_after:g} s, more than judge.model.max_wait)")
            raise _MayPass(what, exchange.retry_after)
        if status in NOT_MENDED_BY_ASKING:
            raise UserError(f"judge at {self.transport.where}: {NOT_MENDED_BY_ASKING[status]} (status {status}: {said})")
        if status != 200:
            raise _Failed(f"status {status}: {said}")
        try:
            return exchange.text, read(exchange.text)
        except MalformedResponse as error:
            raise _MayPass(str(error), None) from None

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Exponential back-off with jitter, and never less than the server asks for. A recording is not waited for."""
        if not self.transport.live:
            return 0.0
        first, longest = self.patience.first_wait, self.patience.max_wait
        backoff = tenacity.wait_exponential_jitter(multiplier=first, max=longest, jitter=first)(state)
        failure = state.outcome.exception() if state.outcome else None
        return max(backoff, (failure.retry_after or 0.0) if isinstance(failure, _MayPass) else 0.0)

    def _record(self, request: Request, exchange: Exchange) -> None:
        if self.recorder:
            self.recorder.write(request, exchange)

    def _note_failure(self, failure: _Failed) -> None:
        self._failed_in_a_row += 1
        _log.warning("judge at %s: no reply: %s", self.transport.where, failure)
        if self._failed_in_a_row < self.patience.breaker:
            return
        self._failed_in_a_row = 0
        again = (
            f"What was judged so far is kept in {self.cache.folder}: see to the server, start again, and only the rest is asked"
            if self.cache
            else "See to the server and start again; all is asked again, because judge.model.cache_dir is null"
        )
        raise UserError(
            f"judge at {self.transport.where}: {self.patience.breaker} requests in a row failed, the last one with: {failure}. "
            f"{again}."
        )


class _Failed(Exception):  # noqa: N818
    """A request without a usable response, and no use in asking again now."""


class _MayPass(Exception):  # noqa: N818
    """An attempt that failed and is worth another."""

    def __init__(self, what: str, retry_after: float | None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


def _say_what_happened(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.info("judge: %s; attempt %d follows in %.1f s", error, state.attempt_number + 1, state.upcoming_sleep)
