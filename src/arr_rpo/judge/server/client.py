"""Asking a server many things at once: one event loop, bounded concurrency, retries, a breaker, a cache, a recording."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import tenacity

from arr_rpo import ranks
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.reasons import OF_THE_REQUEST, OF_THE_SERVER
from arr_rpo.judge.server.answers import Answered
from arr_rpo.judge.server.cache import ReplyCache
from arr_rpo.judge.server.chat import Request
from arr_rpo.judge.server.completion import MalformedResponse, read_reply
from arr_rpo.judge.server.faults import Fault, fault_of
from arr_rpo.judge.server.recording import Recorder
from arr_rpo.judge.server.traffic import Exchange, Transport
from arr_rpo.types import Cost, Reason, UserError

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How much trouble is borne.

    concurrency: conversations under way at once, of all processes of a run together (and one at least of each). retries:
    attempts beyond the first. first_wait: seconds before the first retry, doubled for each further one, up to `max_wait`; a
    server that asks for a longer wait is given up on.
    breaker: conversations in a row that fail by the server's fault, in spite of retries, before the run is stopped.
    """

    concurrency: int
    retries: int
    first_wait: float
    max_wait: float
    breaker: int

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("retries", 0), ("first_wait", 0.0), ("max_wait", 0.0), ("breaker", 1)):
            value = getattr(self, name)
            if not least <= value < math.inf:
                raise UserError(f"judge.model.{name}={value}: it must be {least} or more")


class Client:
    """See `ask`. `run` is for the outside, which is synchronous; everything else happens on the loop of one thread.

    seen: how often each thing happened: `requests`, `cached`, and each `Reason` by its name, an attempt each.
    """

    def __init__(self, transport: Transport, patience: Patience, cache: ReplyCache | None, recorder: Recorder | None) -> None:
        self.transport, self.patience, self.cache, self.recorder = transport, patience, cache, recorder
        self.seen = Counter[str]()
        self.alive: Request | None = None  # a question that the server answers as long as it is there
        self._failed_in_a_row = 0
        self._answered = False
        self._refused: dict[str, NoAnswer] = {}
        self._running: set[Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="judge-client", daemon=True).start()

    def run(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        """The result of each job, `concurrency` of them under way at once. The first error ends them all."""
        future = asyncio.run_coroutine_threadsafe(self._gather(jobs), self._loop)
        self._running.add(future)
        try:
            return future.result()
        except BaseException:  # an interrupt, too, must not leave requests under way
            future.cancel()
            raise
        finally:
            self._running.discard(future)

    def give_up(self) -> None:
        """Ends all that is under way: whoever waits for it gets a CancelledError."""
        for future in list(self._running):
            future.cancel()

    def close(self) -> None:
        """Ends the connections and the loop."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def ask(self, request: Request, read: Callable[[str], Answered[T]], form: str, revision: str) -> Answered[T]:
        """What `read` makes of the response to `request`; from the cache where it has been read before. What is wrong with a
        request itself is told again, and not asked again.

        Args:
            read: raises `MalformedResponse` where the response should be asked for again.
            form: what `read` looks for, and `revision`, that of the model: both part of the reply's identity.

        Raises:
            UserError: the server cannot be used as it is configured, or too many requests failed in a row.
        """
        key = hashlib.sha256(json.dumps([revision, form, request.digest]).encode()).hexdigest()
        if key in self._refused:
            return self._refused[key], Cost()
        if (known := self._known(key, request, read)) is not None:
            return known
        try:
            text, answer = await self._persist(request, read)
        except _Failed as failure:
            await self._note_failure(failure.fault)
            answer, text = (NoAnswer(failure.fault.reason, failure.fault.words), Cost()), ""
        else:
            self._failed_in_a_row = 0
        if isinstance(said := answer[0], NoAnswer):
            if text:
                self.seen[said.reason] += 1
            if said.reason in OF_THE_REQUEST:
                self._refused[key] = said
        elif self.cache:
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
        self.seen["cached"] += 1
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
                f"judge at {self.transport.where} does not answer {request.path}: {failure.fault.words}. Start the server, or "
                "mend judge.model.base_url"
            ) from None

    async def _gather(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        free, stopped = asyncio.Semaphore(max(1, self.patience.concurrency // ranks.at_work())), asyncio.Event()

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
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Failed) and error.fault.again),
            stop=tenacity.stop_after_attempt(self.patience.retries + 1),
            wait=self._wait,
            before_sleep=_say_what_happened,
            reraise=True,
        )
        try:
            return await attempts(self._attempt, request, read)
        except _Failed as failure:
            fault = failure.fault
            if fault.again:
                raise _Failed(Fault(fault.reason, f"{fault.words} ({self.patience.retries + 1} attempts)")) from None
            raise

    async def _attempt(self, request: Request, read: Callable[[str], T]) -> tuple[str, T]:
        self.seen["requests"] += 1
        exchange = await self.transport.send(request)
        self._record(request, exchange)
        if fault := fault_of(exchange, request.redacted, self._answered):
            if fault.stop:
                raise UserError(f"judge at {self.transport.where}: {fault.stop}")
            if fault.wait > self.patience.max_wait:
                words = f"{fault.words} (it asks to wait {fault.wait:g} s, more than judge.model.max_wait)"
                fault = Fault(fault.reason, words)
            raise self._failed(fault)
        try:
            answer = read(exchange.text)
        except MalformedResponse as error:
            raise self._failed(Fault(Reason.BROKEN_RESPONSE, str(error), again=True)) from None
        self._answered |= request.body is not None  # a list of models says nothing of the address that is asked for replies
        return exchange.text, answer

    def _failed(self, fault: Fault) -> _Failed:
        self.seen[fault.reason] += 1
        return _Failed(fault)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Exponential back-off with jitter, and never less than the server asks for. A recording is not waited for."""
        if not self.transport.live:
            return 0.0
        first, longest = self.patience.first_wait, self.patience.max_wait
        backoff = tenacity.wait_exponential_jitter(multiplier=first, max=longest, jitter=first)(state)
        failure = state.outcome.exception() if state.outcome else None
        return max(backoff, failure.fault.wait if isinstance(failure, _Failed) else 0.0)

    def _record(self, request: Request, exchange: Exchange) -> None:
        if self.recorder:
            self.recorder.write(request, exchange)

    async def _note_failure(self, fault: Fault) -> None:
        _log.warning("judge at %s: no reply (%s): %s", self.transport.where, fault.reason, fault.words)
        if fault.reason not in OF_THE_SERVER:
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row < self.patience.breaker:
            return
        self._failed_in_a_row = 0
        if await self._is_alive():
            _log.warning(
                "judge at %s: %d requests in a row failed, and it answers another: it is these requests that it fails on",
                self.transport.where,
                self.patience.breaker,
            )
            return
        again = (
            f"What was judged so far is kept in {self.cache.folder}: see to the server, start again, and only the rest is asked"
            if self.cache
            else "See to the server and start again; all is asked again, because judge.model.cache_dir is null"
        )
        raise UserError(
            f"judge at {self.transport.where}: {self.patience.breaker} requests in a row failed, the last one with: "
            f"{fault.words}. {again}."
        )

    async def _is_alive(self) -> bool:
        """Whether the server answers what it has answered before."""
        if self.alive is None or not self.transport.live:
            return False
        exchange = await self.transport.send(self.alive)
        self._record(self.alive, exchange)
        if fault_of(exchange, {}, True) is not None:
            return False
        try:
            read_reply(exchange.text)
        except MalformedResponse:  # a page of a proxy's, with a status of success
            return False
        return True

    async def _close(self) -> None:
        await self.transport.close()
        if self.cache:
            self.cache.close()


class _Failed(Exception):  # noqa: N818
    """An attempt without a usable response."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.words)
        self.fault = fault


def _say_what_happened(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.info("judge: %s; attempt %d follows in %.1f s", error, state.attempt_number + 1, state.upcoming_sleep)
