"""What goes over the wire to a judge's server, and the live transport."""

from __future__ import annotations

import asyncio
import enum
import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

import httpx2

from arr_rpo.judge.secrets import SHORTEST, in_environment, is_secret
from arr_rpo.judge.server import address
from arr_rpo.judge.server.chat import Request
from arr_rpo.types import UserError


class Failed(enum.StrEnum):
    """Why no whole response came."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    TOO_LARGE = "too large"
    UNSENT = "unsent"


@dataclass(frozen=True)
class Exchange:
    """What came back.

    status: of HTTP; None where no whole response came, and then `failed` says why. text: the response's body, or what happened
    instead of one. seconds: how long it took. retry_after: seconds the server asks to wait. cached: it was not asked at all.
    """

    status: int | None
    text: str
    seconds: float
    retry_after: float | None = None
    cached: bool = False
    failed: Failed | None = None


class Transport(Protocol):
    """Sends a request once. What goes wrong on the way is an `Exchange`, too."""

    where: str
    live: bool  # whether there is somebody to wait for

    async def send(self, request: Request) -> Exchange:
        """The exchange of one attempt."""

    async def close(self) -> None:
        """Lets go of connections."""


class Live:
    """An OpenAI-compatible server. The key is in the header of requests and nowhere else: where a server repeats it, it is
    struck out before anybody sees the text. So are the values of `headers` that are secrets by their name and length.

    Proxies are those of the environment (HTTPS_PROXY, NO_PROXY), and none for a server on this machine.

    Args:
        timeout: seconds for a whole attempt.
        max_reply_bytes: of a response; a longer one is not read on.
        key_over_http: whether the key may travel unencrypted to another machine.
    """

    live = True

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        timeout: float,
        *,
        headers: Mapping[str, str],
        max_reply_bytes: int,
        key_over_http: bool,
    ) -> None:
        self._base = address.parsed(base_url)
        self.where, self._timeout, self._most = str(self._base), timeout, max_reply_bytes
        secret = [value for name, value in headers.items() if is_secret(name, value)]
        # A short one stands everywhere by chance: to strike it out would change what is said.
        self._secrets = [api_key or "", *(value for value in secret if len(value) >= SHORTEST)]
        here = address.is_here(self._base)
        if (api_key or secret) and self._base.scheme == "http" and not here and not key_over_http:
            raise UserError(
                f"judge.model.base_url={self.where}: the API key would travel unencrypted to another machine. Use https, or "
                "allow it with judge.model.key_over_http=true"
            )
        sent = {**({"Authorization": f"Bearer {api_key}"} if api_key else {}), **headers}
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line a request, thousands of them
        try:
            self._client = httpx2.AsyncClient(
                headers=sent, timeout=timeout, trust_env=not here, limits=httpx2.Limits(max_connections=None)
            )
        except (
            ImportError,
            OSError,
            ValueError,
        ) as error:  # a SOCKS proxy without its package, certificates that are not there
            raise UserError(
                f"judge at {self.where}: no client for it ({type(error).__name__}: {error}). See the variables HTTPS_PROXY, "
                "ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
            ) from None

    async def send(self, request: Request) -> Exchange:
        """See `Transport.send`."""
        try:
            # In a thread, and before the clock runs: large pictures take seconds, which are none of the server's.
            content = None if request.body is None else await asyncio.to_thread(_encoded, request)
        except ValueError as error:  # half of a surrogate pair; NaN
            return Exchange(None, f"it cannot be sent ({error})", 0.0, failed=Failed.UNSENT)
        start = time.monotonic()
        failed: Failed | None = None
        status, headers = None, None
        try:
            async with asyncio.timeout(self._timeout):
                status, headers, text = await self._exchanged(request.path, content)
            if text is None:
                status, failed, text = None, Failed.TOO_LARGE, f"a reply of more than {self._most} bytes"
        except (httpx2.TimeoutException, TimeoutError):
            failed, text = Failed.TIMEOUT, f"no reply within {self._timeout:g} s"
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            cause = error.__cause__ or error
            failed, text = Failed.CONNECTION, f"connection failed ({type(cause).__name__}: {cause})"
        waiting = _retry_after(headers or {})
        return Exchange(status, self._struck_out(text), time.monotonic() - start, waiting, failed=failed)

    async def _exchanged(self, path: str, content: bytes | None) -> tuple[int, Mapping[str, str], str | None]:
        """Status, headers and text; no text where it is too long. JSON is UTF-8 whatever the header says."""
        method, headers = ("GET", {}) if content is None else ("POST", {"Content-Type": "application/json"})
        received = bytearray()
        async with self._client.stream(method, address.of(self._base, path), content=content, headers=headers) as response:
            async for part in response.aiter_bytes():
                received += part
                if len(received) > self._most:
                    return response.status_code, response.headers, None
            return response.status_code, response.headers, received.decode("utf-8", "replace").removeprefix("\ufeff")

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._client.aclose()

    def _struck_out(self, text: str) -> str:
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "[API key]")
        return text


def _encoded(request: Request) -> bytes:
    assert request.body is not None
    return json.dumps(request.body(), ensure_ascii=False, allow_nan=False).encode()


def api_key(variable: str | None) -> str | None:
    """The key in the environment variable of this name; None without one.

    Raises:
        UserError: it is not set, or no header can carry it. The message names the variable, not its value.
    """
    return None if variable is None else in_environment(variable, "judge.model.api_key_env")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date (RFC 9110)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
        return None if math.isnan(seconds) else max(0.0, seconds)
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
