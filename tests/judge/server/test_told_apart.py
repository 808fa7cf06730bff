"""Faults of the server, of a request, and of the configuration: each is named, and has its own consequence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from arr_rpo.judge.asking import user
from arr_rpo.judge.forms import A_B, NoAnswer
from arr_rpo.judge.reasons import FIXES, OF_THE_REPLY, OF_THE_REQUEST, OF_THE_SERVER
from arr_rpo.judge.server.faults import fault_of
from arr_rpo.judge.server.traffic import Exchange, Failed
from arr_rpo.types import Reason, UserError
from tests.judge.server.serving.models import A_WINS, FORM, compare, conversations, in_turn, make_model
from tests.judge.server.serving.wire import Response, completion, error, serving

R = Reason
SENT = {"model": "m", "messages": [], "max_completion_tokens": 9, "temperature": 0.0, "response_format": {}, "top_logprobs": 20}


def body(message: str, **more: Any) -> str:
    return json.dumps({"error": {"message": message, **more}})


GEMINI = "You exceeded your current quota, please check your plan and billing details. Please retry in 12.3s."

# status, text, and what it amounts to: a reason, whether it is worth another attempt, and a word of what is to be mended.
TOLD: list[tuple[int, str, Reason, bool, str]] = [
    (500, "oops", R.SERVER_ERROR, True, ""),
    (502, "<html>Bad gateway</html>", R.SERVER_ERROR, True, ""),
    (503, body("overloaded"), R.SERVER_ERROR, True, ""),
    (408, "", R.TIMEOUT, True, ""),
    (429, body("slow down"), R.BUSY, True, ""),
    (429, body("You exceeded your current quota", code="insufficient_quota"), R.REJECTED, False, "no credit"),
    (429, body(GEMINI), R.BUSY, True, ""),
    (429, f"[{body(GEMINI)}]", R.BUSY, True, ""),
    (402, body("pay"), R.REJECTED, False, "no credit"),
    (401, body("no key"), R.REJECTED, False, "api_key_env"),
    (403, "<html>proxy</html>", R.REJECTED, False, "proxy"),
    (404, body("no such model"), R.REJECTED, False, "base_url"),
    (405, "", R.REJECTED, False, "base_url"),
    (301, "", R.REJECTED, False, "elsewhere"),
    (400, body("The response was filtered", code="content_filter"), R.CONTENT_FILTER, False, ""),
    (400, body("violates our content management policy"), R.CONTENT_FILTER, False, ""),
    (403, body("blocked by moderation"), R.CONTENT_FILTER, False, ""),
    (400, body("DataInspection failed", code="data_inspection_failed"), R.CONTENT_FILTER, False, ""),
    (413, "Request Entity Too Large", R.TOO_LONG, False, ""),
    (
        400,
        body("This model's maximum context length is 1024 tokens, 'max_completion_tokens' is too large"),
        R.TOO_LONG,
        False,
        "",
    ),
    (400, body("prompt is too long"), R.TOO_LONG, False, ""),
    (422, body("image size exceeds the limit"), R.TOO_LONG, False, ""),
    (400, body("Unsupported parameter: 'max_completion_tokens'"), R.REJECTED, False, "fields.max_completion_tokens=max_tokens"),
    (400, body("bad", param="temperature"), R.REJECTED, False, "fields.temperature=null"),
    (400, body("response_format is not supported by this model"), R.REJECTED, False, "answers=generated"),
    (400, body("top_logprobs must be at most 5"), R.REJECTED, False, "judge.model.top_logprobs"),
    (422, json.dumps({"detail": "Extra inputs are not permitted: temperature"}), R.REJECTED, False, "fields.temperature=null"),
    (400, body("the temperature of this picture is pleasant"), R.REJECTED, False, ""),
    (400, "no", R.REJECTED, False, ""),
    (400, "[" * 100_000, R.REJECTED, False, ""),
    (200, body("overloaded"), R.SERVER_ERROR, True, ""),
    (200, body("Provider returned error", code=502), R.SERVER_ERROR, True, ""),
    (200, body("rate limited", code="429"), R.BUSY, True, ""),
    (200, body("flagged", code=400, type="content_filter"), R.CONTENT_FILTER, False, ""),
    (200, body("bad", type="invalid_request_error"), R.REJECTED, False, ""),
]


@pytest.mark.parametrize(("status", "text", "reason", "again", "stop"), TOLD)
def test_what_a_response_amounts_to(status: int, text: str, reason: Reason, again: bool, stop: str) -> None:
    fault = fault_of(Exchange(status, text, 0.1), SENT, answered=False)
    assert fault is not None
    assert (fault.reason, fault.again) == (reason, again)
    assert stop in fault.stop
    assert bool(stop) == bool(fault.stop)
    assert len(fault.words.encode()) < 1000


def test_how_long_to_wait_may_stand_in_the_words() -> None:
    fault = fault_of(Exchange(429, body(GEMINI), 0.1), SENT, answered=True)
    assert fault is not None
    assert fault.wait == 12.3


@pytest.mark.parametrize("status", [403, 404, 405])
def test_a_gateway_that_has_answered_before_is_not_at_a_wrong_address(status: int) -> None:
    fault = fault_of(Exchange(status, "too much of it", 0.1), SENT, answered=True)
    assert fault is not None
    assert (fault.reason, fault.stop) == (Reason.REJECTED, "")


@pytest.mark.parametrize("status", [200, 201])
def test_success(status: int) -> None:
    assert fault_of(Exchange(status, completion("A").body.decode(), 0.1), SENT, answered=False) is None
    with serving(lambda *_: Response(status, completion("A").body)) as (url, _):
        assert make_model(url).generate(conversations(1), 9)[0] == ["A"]


@pytest.mark.parametrize(
    ("failed", "reason", "again"),
    [
        (Failed.CONNECTION, R.UNREACHABLE, True),
        (Failed.TIMEOUT, R.TIMEOUT, True),
        (Failed.TOO_LARGE, R.BROKEN_RESPONSE, False),
        (Failed.UNSENT, R.REJECTED, False),
    ],
)
def test_no_response(failed: Failed, reason: Reason, again: bool) -> None:
    fault = fault_of(Exchange(None, "what happened", 0.1, failed=failed), SENT, answered=True)
    assert fault is not None
    assert (fault.reason, fault.again, fault.words) == (reason, again, "what happened")


def test_every_reason_has_a_fix_and_one_owner() -> None:
    assert set(FIXES) == set(Reason)
    owners = [OF_THE_SERVER, OF_THE_REQUEST, OF_THE_REPLY]
    assert all(sum(reason in some for some in owners) <= 1 for reason in Reason)


class TestOfARequest:
    def test_it_does_not_stop_the_run_and_is_not_asked_again(self) -> None:
        """Ten conversations in a row that a filter refuses, where three faults of a server would be enough."""
        refused = error(400, "content_filter")
        with serving(lambda *_: refused) as (url, seen):
            model = make_model(url, concurrency=1)
            for _ in range(2):
                replies, _ = model.generate(conversations(10), 9)
                assert [reply.reason for reply in replies if isinstance(reply, NoAnswer)] == [R.CONTENT_FILTER] * 10
            assert len(seen.chats) == 10
        assert model.account()[R.CONTENT_FILTER] == 10

    @pytest.mark.parametrize(
        ("response", "reason"),
        [
            (completion("", finish_reason="content_filter"), R.CONTENT_FILTER),
            (completion(None, message={"role": "assistant", "content": None, "refusal": "I will not"}), R.REFUSAL),
            (completion("I'm sorry, but I can't help with that."), R.REFUSAL),
        ],
    )
    def test_what_is_refused_in_a_reply(self, response: Response, reason: Reason) -> None:
        with serving(lambda *_: response) as (url, seen):
            model = make_model(url, concurrency=1)
            for _ in range(2):
                [slots], _ = model.fill(conversations(1), [FORM])
                assert isinstance(slots, NoAnswer)
                assert slots.reason is reason
            assert len(seen.chats) == 1

    def test_a_verdict_and_its_reason(self) -> None:
        with serving(in_turn(A_WINS, error(413, "too large"))) as (url, _):
            judged = compare(url)
        assert (judged.failure, judged.p_a) == (R.TOO_LONG, None)

    def test_half_of_a_character_in_a_prompt_fails_alone(self) -> None:
        with serving(in_turn("x")) as (url, seen):
            replies, _ = make_model(url).generate([[user("a \ud800 star")], [user("a star")]], 9)
        assert isinstance(replies[0], NoAnswer)
        assert replies[0].reason is R.REJECTED
        assert replies[1] == "x"
        assert len(seen.chats) == 1


class TestOfTheServer:
    def test_one_that_still_answers_something_else_is_there(self, caplog: Any) -> None:
        """Five prompts in a row crash it, and it answers a first question: the run goes on."""

        def answer(number: int, path: str, body: Any) -> Response:
            text = json.dumps(body)
            return completion("yes") if "Is this picture red?" in text or "(5)" in text else error(500, "crash")

        with serving(answer) as (url, _):
            replies, _ = make_model(url, concurrency=1, retries=0).generate(conversations(6), 9)
        assert [isinstance(reply, NoAnswer) for reply in replies] == [True] * 5 + [False]
        assert "it is these requests that it fails on" in caplog.text

    def test_each_attempt_is_counted_under_its_reason(self) -> None:
        with serving(in_turn(error(500), error(429, Retry_After="0"), "x", Response(200, b"{}"), "x", "")) as (url, _):
            model = make_model(url, concurrency=1)
            model.generate(conversations(3), 9)
        account = model.account()
        counts = {key: n for key, n in account.items() if key != "answered_by"}
        assert counts == {"requests": 6, R.SERVER_ERROR: 1, R.BUSY: 1, R.BROKEN_RESPONSE: 1, R.EMPTY: 1}
        assert account["answered_by"] == {"m": 3}

    def test_a_reply_without_end(self) -> None:
        with serving(lambda *_: Response(200, b'{"choices": [' + b" " * 2_000_000)) as (url, seen):
            [reply], _ = make_model(url, max_reply_bytes=1_000_000).generate(conversations(1), 9)
        assert isinstance(reply, NoAnswer)
        assert "more than 1000000 bytes" in str(reply)
        assert len(seen.chats) == 1


class TestWhoAnswers:
    def test_another_model_behind_the_name_is_told(self, caplog: Any) -> None:
        other = json.loads(completion("B").body)
        other["model"] = "m-distilled"
        with serving(in_turn("A", Response(200, json.dumps(other).encode()))) as (url, _):
            model = make_model(url, concurrency=1)
            model.fill(conversations(4), [A_B] * 4)
        assert model.account()["answered_by"] == {"m": 2, "m-distilled": 2}
        assert "two models stand behind one name" in caplog.text

    def test_it_is_part_of_the_revision(self) -> None:
        def server(name: str) -> Any:
            def answer(number: int, path: str, body: Any) -> Response:
                if body is None:
                    return Response(200, json.dumps([{"id": "m"}]).encode())  # a bare list, as Together's
                reply = json.loads(completion("yes").body)
                return Response(200, json.dumps({**reply, "model": name}).encode())

            return answer

        revisions = []
        for name in ("m-0801", "m-0801", "m-0802"):
            with serving(server(name)) as (url, _):
                revisions.append(make_model(url, revision=None, check_at_start=True).revision())
        assert revisions[0] == revisions[1] != revisions[2]

    def test_how_it_is_served_is_not(self) -> None:
        def server(length: int) -> Any:
            listed = json.dumps({"data": [{"id": "m", "root": "/m", "max_model_len": length}]}).encode()
            return lambda number, path, body: Response(200, listed) if body is None else completion("yes")

        revisions = set()
        for length in (4096, 8192):
            with serving(server(length)) as (url, _):
                revisions.add(make_model(url, revision=None, check_at_start=True).revision())
        assert len(revisions) == 1


class TestFirstQuestion:
    """Asked at each start, whatever is kept: a word and an object."""

    def test_it_is_not_answered_from_the_cache(self, tmp_path: Any) -> None:
        with serving(in_turn("yes", '{"red":"yes"}')) as (url, seen):
            for _ in range(2):
                kept = {"cache_dir": str(tmp_path), "check_at_start": True, "answers": "schema", "concurrency": 1}
                make_model(url, **kept).revision()
        assert len(seen.chats) == 4
        assert ["response_format" in asked for asked in seen.chats] == [False, True, False, True]

    def test_a_server_that_cannot_be_asked_so_says_it_before_anything_else(self) -> None:
        refused = error(400, "response_format is not supported")
        answer = lambda n, path, body: refused if "response_format" in body else completion("yes")  # noqa: E731
        with serving(answer) as (url, seen), pytest.raises(UserError, match="answers=generated"):
            make_model(url, check_at_start=True, answers="schema", concurrency=1).generate(conversations(3), 9)
        assert len(seen.chats) == 2

    def test_a_server_that_lists_models_and_serves_none_of_them_there(self) -> None:
        """As a hosted deployment under another name."""

        def answer(number: int, path: str, body: Any) -> Response:
            return Response(200, b'{"data": [{"id": "m"}]}') if body is None else error(404, "no such deployment")

        with serving(answer) as (url, _), pytest.raises(UserError, match=r"judge.model.base_url and judge.model.model"):
            make_model(url, revision=None, check_at_start=True).revision()

    def test_no_reply_to_it_ends_the_run(self) -> None:
        """A revision that does not say who answers would be another one as soon as somebody does."""
        with (
            serving(in_turn(error(500, "starting"))) as (url, _),
            pytest.raises(UserError, match="no reply to a first question"),
        ):
            make_model(url, check_at_start=True, retries=0).revision()

    def test_no_answer_to_it_is_told_and_no_more(self, caplog: Any) -> None:
        with serving(in_turn("I see a star")) as (url, _):
            assert make_model(url, check_at_start=True).generate(conversations(1), 9)[0] == ["I see a star"]
        assert "to a first question, 'I see a star' is none of yes/no" in caplog.text
