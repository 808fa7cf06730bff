"""Many updates' worth of requests to a server that errs, hangs, mumbles and restarts: all come to an end, none is invented.

`SOAK_UPDATES=2000 python -m pytest tests/judge/server/test_soak.py` is the long one.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import threading
from collections import Counter
from typing import Any

import pytest
from PIL import Image

from arr_rpo.types import Outcome, Prompt, Reason
from tests.judge.server.serving.models import make_judge, make_model
from tests.judge.server.serving.wire import DIES, Response, completion, error, free_port, serving

UPDATES = int(os.environ.get("SOAK_UPDATES", "24"))
PAIRS = 8  # of an update, each asked in both orders
TIMEOUT = 1.0


class Harm:
    """5% errors, 2% hangs, 0.5% broken responses, 2.5% replies that are no answer; else the brighter image is better."""

    def __init__(self, dies_at: int) -> None:
        self.rng, self.lock, self.done, self.dies_at = random.Random(7), threading.Lock(), Counter[str](), dies_at

    def __call__(self, number: int, path: str, body: Any) -> Response:
        with self.lock:
            self.done["requests"] += 1
            chance, dies = self.rng.random(), self.done["requests"] == self.dies_at
            kind = next((k for k, below in LIMITS if chance < below), None)
            if kind and not dies:
                self.done[kind] += 1
        if dies:
            return DIES
        if kind == Reason.SERVER_ERROR:
            return error(500)
        if kind == Reason.TIMEOUT:
            return Response(200, completion("A").body, delay=2 * TIMEOUT)
        if kind == Reason.BROKEN_RESPONSE:
            return Response(200, completion("A").body[:40])
        return completion("A or B, who knows" if kind == Reason.NO_CHOICE else _better(body))


LIMITS = [(Reason.SERVER_ERROR, 0.05), (Reason.TIMEOUT, 0.07), (Reason.BROKEN_RESPONSE, 0.075), (Reason.NO_CHOICE, 0.1)]


def _better(body: Any) -> str:
    urls = [part["image_url"]["url"] for part in body["messages"][-1]["content"] if part["type"] == "image_url"]
    first, second = (Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).getpixel((0, 0)) for url in urls)
    return "A" if first > second else "B"  # type: ignore[operator]


@pytest.mark.slow
def test_a_soak() -> None:
    rng, port, over = random.Random(11), free_port(), threading.Event()
    harm = Harm(dies_at=UPDATES * PAIRS)  # about the middle

    def serve() -> None:
        with serving(harm, port) as (_, seen):
            while not over.wait(0.02) and len(seen.paths) < harm.dies_at:
                pass
        with serving(harm, port):  # started again
            over.wait()

    thread = threading.Thread(target=serve)
    thread.start()
    outcomes, wrong = Counter[Outcome](), 0
    try:
        model = make_model(
            f"http://127.0.0.1:{port}/v1", concurrency=32, retries=8, first_wait=0.02, max_wait=2.0, breaker=8, timeout=TIMEOUT
        )
        judge = make_judge(model, describe=False)
        for update in range(UPDATES):
            levels = [rng.sample(range(256), 2) for _ in range(PAIRS)]
            pairs = [(Image.new("RGB", (2, 2), (a, update % 256, 0)), Image.new("RGB", (2, 2), (b, 0, 0))) for a, b in levels]
            prompts = [Prompt(str(i), f"{update} {i}") for i in range(PAIRS)]
            for (a, b), verdict in zip(levels, judge.compare(prompts, pairs, [None] * PAIRS), strict=True):
                outcomes[verdict.outcome] += 1
                wrong += verdict.outcome not in (Outcome.A if a > b else Outcome.B, Outcome.FAILED)
                assert (verdict.outcome is Outcome.FAILED) == (verdict.failure is Reason.NO_CHOICE)
    finally:
        over.set()
        thread.join()
    account = model.account()
    print(json.dumps({"verdicts": outcomes, "harm": harm.done, "account": account}))
    assert wrong == 0
    assert sum(outcomes.values()) == UPDATES * PAIRS
    assert 0 < outcomes[Outcome.FAILED] <= harm.done[Reason.NO_CHOICE]
    lost = account[Reason.UNREACHABLE]  # some of them were under way when the server died
    for kind, _ in LIMITS:
        assert harm.done[kind] - lost <= account[kind]
        assert account[kind] <= harm.done[kind] or kind is Reason.TIMEOUT  # while nobody is there, a connection may hang
    assert account[Reason.UNREACHABLE] > 0
    assert account["requests"] == UPDATES * PAIRS * 2 + sum(account[r] for r, _ in LIMITS[:3]) + account[Reason.UNREACHABLE]
