"""Settings that contradict themselves or are out of range are named before anything is asked; addresses are read strictly."""

from __future__ import annotations

from typing import Any

import pytest

from arr_rpo.judge.server.address import is_here, of, parsed
from arr_rpo.types import Reason, UserError
from tests.judge.server.serving.models import conversations, in_turn, make_model
from tests.judge.server.serving.wire import error, serving

R = Reason


class TestSettings:
    @pytest.mark.parametrize(
        ("changed", "named"),
        [
            ({"concurrency": 0}, "concurrency=0"),
            ({"concurrency": -1}, "concurrency=-1"),
            ({"retries": -1}, "retries=-1"),
            ({"first_wait": float("nan")}, "first_wait=nan"),
            ({"max_wait": float("inf")}, "max_wait=inf"),
            ({"breaker": 0}, "breaker=0"),
            ({"timeout": 0.0}, "timeout=0.0"),
            ({"timeout": float("nan")}, "timeout=nan"),
            ({"votes": 0}, "votes=0"),
            ({"votes": 3}, "votes=3 with temperature 0"),
            ({"thinking_tokens": -1}, "thinking_tokens=-1"),
            ({"thinking_tokens": 100, "answers": "logprobs"}, "thinking_tokens"),
            ({"max_form_tokens": 0}, "max_form_tokens=0"),
            ({"parameters": {"temperature": float("nan")}}, "parameters cannot be sent"),
            ({"parameters": {"model": "other"}}, "parameters.model"),
            ({"parameters": {"max_completion_tokens": 5}}, "parameters.max_completion_tokens"),
            ({"base_url": "localhost:8000/v1"}, "http://"),
            ({"base_url": "127.0.0.1:8000"}, "http://"),
            ({"base_url": "http://localhost:99999/v1"}, "base_url"),
            ({"base_url": "http://localhost:word/v1"}, "base_url"),
            ({"base_url": "http:///v1"}, "http://"),
            ({"base_url": "ftp://localhost/v1"}, "http://"),
            ({"base_url": "https://x.example/v1?api-key=abc"}, "judge.model.base_url looks like a secret"),
            ({"base_url": "https://x.example/v1?subscription_key=abc"}, "judge.model.base_url looks like a secret"),
        ],
    )
    def test_one_that_cannot_be(self, changed: dict[str, Any], named: str) -> None:
        with pytest.raises(UserError) as caught:
            make_model(changed.pop("base_url", "http://127.0.0.1:1/v1"), **changed)
        assert named in str(caught.value)
        assert "abc" not in str(caught.value)

    def test_a_proxy_that_no_client_can_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks9://127.0.0.1:1")
        with pytest.raises(UserError, match="ALL_PROXY"):
            make_model("http://judge.example/v1")

    def test_certificates_that_are_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
        with pytest.raises(UserError, match="SSL_CERT_FILE"):
            make_model("https://judge.example/v1")

    def test_no_proxy_stands_before_this_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
        with serving(in_turn("x")) as (url, seen):
            assert make_model(url).generate(conversations(1), 9)[0] == ["x"]
        assert len(seen.chats) == 1

    def test_a_key_over_http_to_another_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUDGE_KEY", "sk-1")
        with pytest.raises(UserError, match="key_over_http"):
            make_model("http://judge.example/v1", api_key_env="JUDGE_KEY")
        make_model("http://judge.example/v1", api_key_env="JUDGE_KEY", key_over_http=True)
        make_model("https://judge.example/v1", api_key_env="JUDGE_KEY")
        make_model("http://[::1]:8000/v1", api_key_env="JUDGE_KEY")

    def test_the_clients_own_variables_are_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: abc")
        with serving(in_turn("x")) as (url, seen):
            make_model(url).generate(conversations(1), 9)
        assert "org-1" not in str(seen.headers)
        assert "abc" not in str(seen.headers)

    def test_fields_are_renamed_or_left_out(self) -> None:
        with serving(in_turn("x")) as (url, seen):
            make_model(url, fields={"max_completion_tokens": "max_tokens", "temperature": None}).generate(conversations(1), 9)
        [asked] = seen.chats
        assert asked["max_tokens"] == 9
        assert not {"max_completion_tokens", "temperature"} & set(asked)

    def test_a_field_that_no_server_takes_stops_at_once(self) -> None:
        refused = error(400, "Unsupported parameter: 'max_completion_tokens' is not supported with this model")
        with serving(lambda *_: refused) as (url, seen), pytest.raises(UserError, match="max_completion_tokens=max_tokens"):
            make_model(url, concurrency=1).generate(conversations(5), 9)
        assert len(seen.chats) == 1


class TestAddress:
    def test_what_is_asked_after_the_path_stays_there(self) -> None:
        with serving(in_turn("x")) as (url, seen):
            make_model(f"{url}?api-version=2024-10-21").generate(conversations(1), 9)
        assert seen.paths == ["/v1/chat/completions?api-version=2024-10-21"]
        assert str(of(parsed("https://x.example/openai/v1/?api-version=1"), "/models")) == (
            "https://x.example/openai/v1/models?api-version=1"
        )

    @pytest.mark.parametrize(
        ("url", "here"),
        [
            ("http://localhost:8000/v1", True),
            ("http://127.0.0.1/v1", True),
            ("http://127.9.9.9/v1", True),
            ("http://[::1]:80/v1", True),
            ("http://judge.localhost/v1", True),
            ("http://10.0.0.1/v1", False),
            ("http://localhost.example/v1", False),
        ],
    )
    def test_this_machine(self, url: str, here: bool) -> None:
        assert is_here(parsed(url)) is here
