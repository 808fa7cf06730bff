"""The example server for real, and a server that does what servers do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from arr_rpo.scorer.http import HttpScorer
from arr_rpo.types import Grade, Prompt, UserError
from tests.judge.server.serving.wire import free_port

PROMPTS = [Prompt(str(n), f"prompt {n}", {"n": n}) for n in range(3)]
IMAGES = [Image.new("RGB", (4, 4), color) for color in ("white", "black", (51, 51, 51))]


def scorer(url: str, **changes: object) -> HttpScorer:
    given = {"timeout": 5.0, "retries": 1, "batch_size": 2, "concurrency": 2, "max_reply": 1000}
    return HttpScorer(url=url, **{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def example() -> Iterator[str]:
    port, file = free_port(), Path(__file__).parents[2] / "examples" / "score_server.py"
    server = subprocess.Popen([sys.executable, str(file), str(port)])
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.kill()


class Moody(BaseHTTPRequestHandler):
    """Answers as its path says."""

    asked: list[dict[str, object]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        count, mood = len(body["prompts"]), self.path[1:]
        status = int(mood) if mood.isdigit() else 200
        if mood == "later":
            status = 503 if len(self.asked) == 1 else 200
        said = {
            "few": '{"scores": [1]}',
            "prose": "I like it",
            "nan": json.dumps({"scores": [float("nan"), None, True][:count], "reasons": ["", "too dark", ""][:count]}),
            "long": "x" * 5000,
            "deep": "[" * 200_000,
        }.get(mood, json.dumps({"scores": [1.0] * count}))
        data = said.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def moody() -> Iterator[str]:
    Moody.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_example_server(example: str) -> None:
    assert [grade.value for grade in scorer(example).score(PROMPTS, IMAGES)] == pytest.approx([1.0, 0.0, 0.2])


def test_what_is_sent(moody: str) -> None:
    scorer(f"{moody}/fine", concurrency=1).score(PROMPTS, IMAGES)
    assert [body["prompts"] for body in Moody.asked] == [["prompt 0", "prompt 1"], ["prompt 2"]]
    assert Moody.asked[1]["metadata"] == [{"n": 2}]


def test_metadata_that_json_cannot_hold_is_left_out_and_dates_are_text(moody: str) -> None:
    metadata = {"n": 1, "when": datetime(2026, 1, 2), "picture": b"png", "nested": {"x": b"y"}, "none": float("nan")}
    scorer(f"{moody}/fine").score([Prompt("a", "a", metadata)], IMAGES[:1])
    assert Moody.asked[-1]["metadata"] == [{"n": 1, "when": "2026-01-02T00:00:00"}]


def test_what_may_go_better_is_asked_again(moody: str) -> None:
    assert scorer(f"{moody}/later", batch_size=3).score(PROMPTS, IMAGES) == [Grade(1.0)] * 3
    assert len(Moody.asked) == 2


def test_what_stays_bad_is_missing_data(moody: str) -> None:
    assert scorer(f"{moody}/503").score(PROMPTS[:1], IMAGES[:1]) == [Grade(None, reason="the scorer answered with status 503")]
    first, second, third = scorer(f"{moody}/nan", batch_size=3).score(PROMPTS, IMAGES)
    assert (first.value, second, third.value) == (None, Grade(None, reason="too dark"), 1.0)


@pytest.mark.parametrize(
    ("mood", "told"),
    [
        ("400", "answered with status 400"),
        ("few", "for 2 pictures: as many scores are wanted"),
        ("prose", r"\{\"scores\": \[\.\.\.\]\} is wanted"),
        ("long", "more than max_reply=1000 bytes"),
        ("deep", "more than max_reply"),
    ],
)
def test_what_the_user_can_mend(moody: str, mood: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        scorer(f"{moody}/{mood}").score(PROMPTS, IMAGES)


def test_an_address_that_swallows_packets_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, **__: object) -> None:
        raise httpx2.ConnectTimeout("timed out")

    monkeypatch.setattr(httpx2.Client, "stream", late)
    with pytest.raises(UserError, match="cannot be reached"):
        scorer("http://10.255.255.1", retries=0).score(PROMPTS, IMAGES)


def test_nobody_there() -> None:
    with pytest.raises(UserError, match="cannot be reached"):
        scorer(f"http://127.0.0.1:{free_port()}").score(PROMPTS, IMAGES)
    with pytest.raises(UserError, match="begins with http"):
        scorer("localhost:1")
    with pytest.raises(UserError, match="1 at least"):
        scorer("http://x", concurrency=0)
