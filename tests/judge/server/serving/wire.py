"""Small HTTP servers for the tests: one that answers as it is told, and one that stands before another and does it harm."""

from __future__ import annotations

import json
import math
import random
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Response:
    """What a client gets.

    delay: seconds before it. drip: seconds between its bytes. promised: the Content-Length where it is not the body's.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    promised: int | None = None


@dataclass
class Seen:
    """What was asked, in the order of arrival."""

    paths: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def chats(self) -> list[Any]:
        return [body for path, body in zip(self.paths, self.bodies, strict=True) if path.endswith("/chat/completions")]


DIES = Response(0, b"")  # the server is gone in the middle of this request, and for every later one

Answer = Callable[[int, str, Any], Response]  # number of the request, from 0; path; body


def completion(text: str | None, finish_reason: str = "stop", **choice: Any) -> Response:
    """A chat completion as OpenAI's servers send it."""
    message = choice.pop("message", {"role": "assistant", "content": text})
    data = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, **choice}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42},
    }
    return Response(200, json.dumps(data).encode())


def logprobs(probabilities: Mapping[str, float]) -> dict[str, Any]:
    """The field of a choice that tells what the first token could have been."""
    top = [{"token": t, "logprob": math.log(p), "bytes": list(t.encode())} for t, p in probabilities.items()]
    return {"content": [{**top[0], "top_logprobs": top}]}


def error(status: int, message: str = "no", **headers: str) -> Response:
    return Response(status, json.dumps({"error": {"message": message}}).encode(), headers)


@contextmanager
def serving(answer: Answer, port: int = 0) -> Iterator[tuple[str, Seen]]:
    """A server on 127.0.0.1 for the time of the block: its base URL, and what it was asked."""
    seen, lock, dead, closed = Seen(), threading.Lock(), threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: Any) -> None:
            self.close_connection = dead.is_set()
            if dead.is_set():  # a connection from before
                return
            with lock:
                number = len(seen.paths)
                seen.paths.append(self.path)
                seen.bodies.append(body)
                seen.headers.append({key.lower(): value for key, value in self.headers.items()})
                seen.times.append(time.monotonic())
            response = answer(number, self.path, body)
            time.sleep(response.delay)
            if response is DIES:
                self.close_connection = True
                die()
                return
            promised = len(response.body) if response.promised is None else response.promised
            headers = {"Content-Type": "application/json", "Content-Length": str(promised), **response.headers}
            self.close_connection = promised != len(response.body)
            try:
                self.send_response(response.status)
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                for part in (
                    [response.body] if not response.drip else [response.body[i : i + 1] for i in range(len(response.body))]
                ):
                    self.wfile.write(part)
                    time.sleep(response.drip)
                self.wfile.flush()
            except OSError:  # the client has gone
                self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Nothing."""

    def die() -> None:
        if not dead.is_set():
            dead.set()
            server.shutdown()
            server.server_close()
            closed.set()

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    finally:
        die()
        thread.join()
        closed.wait()  # a request that kills the server closes its port, and the next server may want the same


def passed_on(upstream: str) -> Answer:
    """What the server at `upstream` answers."""

    def answer(number: int, path: str, body: Any) -> Response:
        url = upstream + path.removeprefix("/v1")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Response(response.status, response.read())
        except urllib.error.HTTPError as error:
            return Response(error.code, error.read())

    return answer


def then(*first: Response | Answer, last: Answer) -> Answer:
    """The n-th request gets the n-th of `first`, the later ones what `last` says."""

    def answer(number: int, path: str, body: Any) -> Response:
        chosen = first[number] if number < len(first) else last
        return chosen if isinstance(chosen, Response) else chosen(number, path, body)

    return answer


def free_port() -> int:
    """A port for a server that comes later or comes again: of those that no outgoing connection is given meanwhile."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port in 20000 to 32000")
