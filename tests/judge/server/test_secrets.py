"""What looks like a secret, and what only sounds like one."""

from __future__ import annotations

from typing import Any

import pytest

from arr_rpo.judge.secrets import headers_of, suspicion, suspicions
from arr_rpo.types import UserError
from tests.judge.server.serving.models import conversations, make_model
from tests.judge.server.serving.wire import completion, error, serving

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_JUDGE_KEY", SECRET)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("judge.model.base_url", "https://me:pw@host/v1"),
        ("judge.model.base_url", "https://token@host/v1"),
        ("judge.model.base_url", "https://host/v1?api-key=x1"),
        ("judge.model.base_url", "https://host/v1?api-version=1&key=x1"),
        ("judge.model.base_url", "https://host/v1?Subscription-Key=x1"),
        ("judge.model.base_url", f"https://host/{SECRET}/v1"),
        ("judge.model.parameters.api_key", "x1"),
        ("judge.model.parameters.extra.Authorization", "x1"),
        ("judge.model.parameters.user", f"Bearer {'a' * 20}"),
        ("judge.model.model", "sk-proj-abcdefghij0123456789"),
        ("policy.load.token", "x1"),
        ("anything", "hf_" + "a" * 34),
        ("anything", "AIza" + "b" * 35),
        ("anything", "-----BEGIN RSA PRIVATE KEY-----"),
        ("anything", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x"),
        ("anything", f"x {SECRET} y"),
        ("hydra.job.env_set.OPENAI_API_KEY", "x1"),
    ],
)
def test_what_looks_like_one(name: str, value: str) -> None:
    assert suspicion(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("judge.model.base_url", "https://host:8000/v1?api-version=2024-10-21&deployment=x"),
        ("judge.model.api_key_env", "MY_JUDGE_KEY"),
        ("judge.model.answers", "tokens"),
        ("judge.model.model", "Qwen/Qwen3-VL-8B-Instruct"),
        ("data.train", "/data/task-list-of-keys-2024/prompts.txt"),
        ("name", "basic"),
        ("judge.model.parameters.prompt_cache_key", "run-1"),
        ("policy.load.token", ""),
        ("policy.load.token", "${a.token}"),
        ("git", "git@github.com:me/prompts.git"),
    ],
)
def test_what_does_not(name: str, value: str) -> None:
    assert suspicion(name, value) is None


def test_names_of_variables_where_names_belong() -> None:
    server = {"base_url": "http://h/v1", "api_key_env": "MY_JUDGE_KEY", "headers": {"x-api-key": "OTHER_KEY"}}
    assert list(suspicions({"judge": {"model": server}})) == []
    assert [key for key, _ in suspicions({**server, "api_key_env": "8f14e45fceea167a"})] == ["api_key_env"]
    assert [key for key, _ in suspicions({**server, "headers": {"x-api-key": "8f14e45f"}}, "m")] == ["m.headers.x-api-key"]
    assert [key for key, _ in suspicions([{"a": {"password": "x"}}])] == ["0.a.password"]


def test_headers_reach_the_server_and_nothing_else(tmp_path: Any) -> None:
    answers = [error(400, f"I was given {SECRET}"), completion(f"you said {SECRET}")]
    with serving(lambda number, path, body: answers[min(number, 1)]) as (url, seen):
        kept = {"cache_dir": str(tmp_path / "cache"), "record_dir": str(tmp_path / "record")}
        model = make_model(url, headers={"X-Api-Key": "MY_JUDGE_KEY"}, concurrency=1, **kept)
        replies, _ = model.generate(conversations(2), 24)
    assert [h["x-api-key"] for h in seen.headers] == [SECRET] * 2
    assert replies[1] == "you said [API key]"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 2
    assert all(SECRET.encode() not in path.read_bytes() for path in written)
    assert SECRET not in str(replies)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"x-api-key": "GONE_AWAY_KEY"}, r"judge\.model\.headers\.x-api-key=GONE_AWAY_KEY: no such environment variable"),
        ({"x-api-key": SECRET}, r"judge\.model\.headers\.x-api-key names an environment variable"),
        ({"x api": "MY_JUDGE_KEY"}, "'x api' is no name of a header"),
        ({"x-multi": "OF_LINES"}, "its value has characters"),
    ],
)
def test_headers_that_are_none(headers: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_LINES", "a\nx-other: b")
    with pytest.raises(UserError, match=message) as caught:
        headers_of(headers)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"base_url": f"http://h/v1?api-key={SECRET}"}, {"parameters": {"token": SECRET}}, {"parameters": {"x": [f"a{SECRET}"]}}],
)
def test_a_model_is_not_made_with_one(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"judge\.model\..* looks like a secret: .*judge\.model\.headers") as caught:
        make_model("http://h/v1", **settings) if "base_url" not in settings else make_model(settings["base_url"])
    assert SECRET not in str(caught.value)
