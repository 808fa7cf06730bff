"""A server that misbehaves: no verdict is invented, and the run says what happened."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import numpy as np
import pytest

from arr_rpo.judge.forms import A_B, NoAnswer
from arr_rpo.judge.local.loading import EMBEDDED
from arr_rpo.types import Cost, Outcome, UserError
from tests.judge.server.serving.models import (
    A_WINS,
    B_WINS,
    FORM,
    QUESTIONS,
    compare,
    conversations,
    in_turn,
    make_model,
)
from tests.judge.server.serving.wire import DIES, Answer, Response, completion, error, free_port, passed_on, serving, then


class TestFaults:
    """Between the client and the real server stands one that does harm."""

    def texts(self, real: str, *faults: Response, n: int = 1, **changes: Any) -> tuple[list[str | NoAnswer], Any]:
        with serving(then(*faults, last=passed_on(real))) as (url, seen):
            replies, _ = make_model(url, model=str(EMBEDDED["shapes"]), **changes).generate(conversations(n), 24)
        return replies, seen

    def expected(self, real: str, n: int = 1) -> list[str | NoAnswer]:
        return make_model(real, model=str(EMBEDDED["shapes"])).generate(conversations(n), 24)[0]

    def test_connection_refused(self) -> None:
        url = f"http://127.0.0.1:{free_port()}/v1"
        [reply], cost = make_model(url).generate(conversations(1), 24)
        assert isinstance(reply, NoAnswer)
        assert "connection failed" in str(reply)
        assert "3 attempts" in str(reply)
        assert cost == Cost()
        judged = compare(url)
        assert (judged.outcome, judged.p_a, judged.checks) == (Outcome.FAILED, None, ())
        assert "connection failed" in judged.reason

    def test_429_is_waited_for_as_long_as_the_server_says(self, real: str) -> None:
        replies, seen = self.texts(real, error(429, "slow down", Retry_After="1"))
        assert replies == self.expected(real)
        assert 1.0 <= seen.times[1] - seen.times[0] < 2.0

    def test_429_until_a_date(self, real: str) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        replies, seen = self.texts(real, error(429, "slow down", Retry_After=date))
        assert replies == self.expected(real)
        assert 0.9 <= seen.times[1] - seen.times[0] <= 2.1  # dates have whole seconds

    def test_429_for_longer_than_anybody_waits(self) -> None:
        with serving(lambda *_: error(429, "come tomorrow", Retry_After="86400")) as (url, seen):
            [reply], _ = make_model(url).generate(conversations(1), 24)
        assert "86400 s, more than judge.model.max_wait" in str(reply)
        assert len(seen.chats) == 1

    def test_500s_then_success(self, real: str) -> None:
        replies, seen = self.texts(real, error(500), error(503))
        assert replies == self.expected(real)
        assert len(seen.chats) == 3

    def test_waits_grow(self) -> None:
        with serving(lambda *_: error(500)) as (url, seen):
            make_model(url, retries=3, first_wait=0.1).generate(conversations(1), 24)
        waits = np.diff(seen.times)
        for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True):
            assert least <= wait < least + 0.1 + 0.15  # jitter of up to first_wait; and some time for the request itself

    def test_500s_for_ever_stop_the_run(self) -> None:
        with serving(lambda *_: error(500, "out of memory")) as (url, seen), pytest.raises(UserError) as caught:
            make_model(url, concurrency=1).generate(conversations(10), 24)
        assert len(seen.chats) == 10  # three conversations of three attempts, whether anybody is there, and seven spared
        message = str(caught.value)
        assert url in message
        assert "3 requests in a row failed" in message
        assert "status 500" in message
        assert "out of memory" in message

    def test_a_proxys_page_with_a_status_of_success_is_no_server(self) -> None:
        page = Response(200, b"<html>log in</html>")
        with serving(lambda *_: page) as (url, _), pytest.raises(UserError, match="2 requests in a row failed"):
            make_model(url, concurrency=1, breaker=2).generate(conversations(6), 24)

    def test_failures_in_between_do_not_stop_it(self) -> None:
        with serving(in_turn(error(500), error(500), error(500), "x", error(500), error(500), error(500), "x")) as (url, _):
            replies, _ = make_model(url, concurrency=1, breaker=2).generate(conversations(4), 24)
        assert [isinstance(reply, NoAnswer) for reply in replies] == [True, False, True, False]

    def test_a_request_the_server_will_not_take_fails_alone(self) -> None:
        with serving(in_turn(error(400, "prompt too long"), "x")) as (url, seen):
            replies, _ = make_model(url, concurrency=1).generate(conversations(2), 24)
        assert "status 400" in str(replies[0])
        assert "prompt too long" in str(replies[0])
        assert replies[1] == "x"
        assert len(seen.chats) == 2  # it is not tried again

    def test_the_first_error_keeps_those_who_wait_from_asking(self) -> None:
        asked: list[int] = []

        async def job(number: int) -> None:
            asked.append(number)
            raise UserError("no")

        client = make_model("http://127.0.0.1:1/v1", concurrency=1)._client
        with pytest.raises(UserError, match="no"):
            client.run([partial(job, number) for number in range(4)])
        assert asked == [0]

    @pytest.mark.parametrize(("status", "fix"), [(401, "judge.model.api_key_env"), (404, "judge.model.base_url")])
    def test_what_asking_again_does_not_mend_stops_at_once(self, status: int, fix: str) -> None:
        with serving(lambda *_: error(status)) as (url, seen), pytest.raises(UserError, match=fix):
            make_model(url, concurrency=1).generate(conversations(5), 24)
        assert len(seen.chats) == 1

    def test_a_hang(self, real: str) -> None:
        start = time.monotonic()
        slow = Response(200, completion("too late").body, delay=2.5)
        replies, seen = self.texts(real, slow, timeout=2.0)  # which a quick reply has on a busy machine, too
        assert replies == self.expected(real)
        assert len(seen.chats) == 2
        assert time.monotonic() - start > 2.0
        with serving(lambda *_: slow) as (url, _):
            judged = compare(url, timeout=0.1, retries=1)
        assert judged.outcome is Outcome.FAILED
        assert "no reply within 0.1 s (2 attempts)" in judged.reason

    def test_a_reply_that_comes_drop_by_drop(self) -> None:
        """Each byte comes in time, the whole does not."""
        with serving(lambda *_: Response(200, completion("x").body, drip=0.05)) as (url, _):
            start = time.monotonic()
            [reply], _ = make_model(url, timeout=0.3, retries=0).generate(conversations(1), 24)
        assert "no reply within 0.3 s" in str(reply)
        assert time.monotonic() - start < 2.0

    @pytest.mark.parametrize(
        "cut",
        [
            Response(200, completion(A_WINS).body[:100], promised=len(completion(A_WINS).body)),
            Response(200, completion(A_WINS).body[:100]),
            Response(200, b""),
            Response(200, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}),
            Response(200, b'{"error": {"message": "overloaded"}}'),
            Response(200, b'{"choices": []}'),
            Response(200, b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
            Response(200, b"[" * 100_000),
        ],
        ids=["fewer bytes than promised", "half", "nothing", "html", "an error", "no choice", "half a character", "deep"],
    )
    def test_a_broken_response(self, real: str, cut: Response) -> None:
        replies, seen = self.texts(real, cut)
        assert replies == self.expected(real)
        assert len(seen.chats) == 2
        with serving(lambda *_: cut) as (url, _):
            judged = compare(url)
        assert (judged.outcome, judged.p_a) == (Outcome.FAILED, None)
        assert "3 attempts" in judged.reason
        judged.reason.encode()

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (A_WINS.replace('"better":"A"', '"better":"A","better":"B"'), "'better' stands twice"),
            (A_WINS.replace(f'"{QUESTIONS[0]}"', f'"{QUESTIONS[1]}"'), "stands twice"),
            (json.dumps({"criteria": {QUESTIONS[0]: {"A": "yes", "B": "no"}}, "better": "A"}), "'met' is missing"),
            (A_WINS.replace('"better":"A"', '"better":"C"'), "'C' is none of A/B"),
            (A_WINS.replace('"better":"A"', '"better":"a"'), "'a' is none of A/B"),
            (A_WINS.replace("yes", "ja"), "'ja' is none of yes/no"),
            ("Bild A ist besser, weil der Kreis rot ist.", "not JSON"),
            ("图像A更好。", "not JSON"),
            (A_WINS + A_WINS, "more than one object"),
            (A_WINS[:-10], "not JSON"),
            ("", "an empty reply"),
            ("  \n", "an empty reply"),
        ],
    )
    def test_a_reply_that_is_no_answer(self, reply: str, reason: str) -> None:
        with serving(in_turn(reply, B_WINS)) as (url, seen):
            judged = compare(url)
        assert (judged.outcome, judged.p_a, judged.checks) == (Outcome.FAILED, None, ())
        assert reason in judged.reason
        assert len(seen.chats) == 2  # the server did its part: it is not asked again
        assert judged.cost == Cost(2, 84)

    def test_a_reply_without_content(self) -> None:
        with serving(lambda *_: completion(None)) as (url, _):
            [text], _ = make_model(url).generate(conversations(1), 24)
        assert str(text) == "an empty reply"

    def test_a_form_that_ended_at_the_token_limit(self) -> None:
        """Even where what came could be read: nobody knows what would have followed."""
        with serving(lambda *_: completion("A", finish_reason="length")) as (url, _):
            [slots], _ = make_model(url).fill(conversations(1), [A_B])
        assert isinstance(slots, NoAnswer)
        assert "cut off" in str(slots)

    def test_the_real_server_cuts_a_form(self, real: str) -> None:
        [slots], cost = make_model(real, model=str(EMBEDDED["shapes"]), max_form_tokens=1).fill(conversations(1), [FORM])
        assert isinstance(slots, NoAnswer)
        assert "cut off" in str(slots)
        assert cost[0].calls == 1

    def test_a_server_that_comes_back_in_time(self, real: str) -> None:
        """It dies at the fourth request and is back half a second later: nobody notices."""
        port, both = free_port(), []

        def run(answer: Answer, until: threading.Event) -> None:
            with serving(answer, port) as (_, seen):
                both.append(seen)
                until.wait(20)

        done = threading.Event()
        first = threading.Thread(target=run, args=(then(*[passed_on(real)] * 3, DIES, last=passed_on(real)), done))
        second = threading.Timer(0.5, run, args=(passed_on(real), done))
        first.start()
        second.start()
        try:
            model = make_model(f"http://127.0.0.1:{port}/v1", model=str(EMBEDDED["shapes"]), retries=5, first_wait=0.1)
            replies, _ = model.generate(conversations(8), 24)
        finally:
            done.set()
            first.join()
            second.join()
        assert replies == self.expected(real, 8)
        before, after = (len(seen.chats) for seen in both)
        assert before >= 4
        assert 8 - 3 <= after <= 8  # at most what was under way was asked again


def test_what_is_under_way_can_be_given_up_from_elsewhere() -> None:
    """A hanging server would be waited for through all retries; and the client can be asked again."""
    hanging, asked = threading.Event(), threading.Event()

    def answer(number: int, path: str, body: Any) -> Response:
        if number == 0:
            asked.set()
            hanging.wait(30)
        return completion("x")

    with serving(answer) as (url, _):
        model = make_model(url, timeout=60.0)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(model.generate, conversations(1), 24)
            assert asked.wait(20)
            model.give_up()
            with pytest.raises(CancelledError):
                waiting.result(timeout=20)
        hanging.set()
        assert model.generate(conversations(1), 24)[0] == ["x"]
