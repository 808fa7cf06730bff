"""What is kept of a server's replies: the cache, recordings, and never the key."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.judge.asking import user
from arr_rpo.judge.forms import GRADES
from arr_rpo.judge.local.loading import EMBEDDED
from arr_rpo.judge.server.cache import FILE, ReplyCache
from arr_rpo.types import Outcome, UserError
from tests.conftest import configure
from tests.judge.server.serving.models import (
    A_WINS,
    B_WINS,
    A,
    B,
    compare,
    conversations,
    in_turn,
    make_model,
)
from tests.judge.server.serving.wire import DIES, error, free_port, passed_on, serving, then

KEY = "sk-sentinel-5f1d7c"


class TestCache:
    def test_after_a_restart_nothing_is_asked_again(self, real: str, tmp_path: Path) -> None:
        """The server dies half way through ten conversations; the run stops, is started again, and asks the rest."""
        port = free_port()
        asked = {"model": str(EMBEDDED["shapes"]), "cache_dir": str(tmp_path), "concurrency": 1}
        with serving(then(*[passed_on(real)] * 4, last=lambda *_: DIES), port) as (url, seen):
            with pytest.raises(UserError) as caught:
                make_model(url, **asked).generate(conversations(10), 24)
            assert len(seen.chats) == 5  # and then nobody was there
        assert f"judged so far is kept in {tmp_path}" in str(caught.value)
        with serving(passed_on(real), port) as (url, seen):
            replies, _ = make_model(url, **asked).generate(conversations(10), 24)
            assert len(seen.chats) == 6
            again, _ = make_model(url, **asked).generate(conversations(10), 24)
            assert len(seen.chats) == 6
        assert replies == again == make_model(real, model=str(EMBEDDED["shapes"])).generate(conversations(10), 24)[0]

    def test_a_folder_at_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        with serving(in_turn("x")) as (url, _):
            make_model(url, cache_dir="~/kept", record_dir="~/recorded").generate(conversations(1), 24)
        assert {path.name for path in tmp_path.iterdir()} == {"kept", "recorded"}

    def test_verdicts_come_from_it_with_their_cost(self, tmp_path: Path) -> None:
        with serving(in_turn(A_WINS, B_WINS)) as (url, seen):
            first, second = (compare(url, cache_dir=str(tmp_path)) for _ in range(2))
        assert first == second
        assert first.outcome is Outcome.A
        assert len(seen.chats) == 2

    def test_what_is_no_answer_is_asked_again(self, tmp_path: Path) -> None:
        with serving(in_turn("nonsense", B_WINS, A_WINS)) as (url, seen):
            first = compare(url, cache_dir=str(tmp_path))
            assert kept_in(tmp_path) == 1
            second = compare(url, cache_dir=str(tmp_path))
        assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.A)
        assert len(seen.chats) == 3  # B_WINS was kept

    def test_another_question_is_not_the_same_question(self, tmp_path: Path) -> None:
        """Another revision, picture, text, form, parameter or model: each is asked."""
        one = [[user(A, "well?")]]
        with serving(in_turn("1")) as (url, seen):
            kept = {"cache_dir": str(tmp_path)}
            for _ in range(2):
                make_model(url, **kept).fill(one, [GRADES])
            assert len(seen.chats) == 1
            make_model(url, revision="r2", **kept).fill(one, [GRADES])
            make_model(url, **kept).fill([[user(B, "well?")]], [GRADES])
            make_model(url, **kept).fill([[user(A, "well")]], [GRADES])
            make_model(url, **kept).fill(one, [("1", "2")])
            make_model(url, parameters={"temperature": 1.0}, **kept).fill(one, [GRADES])
            make_model(url, model="n", **kept).fill(one, [GRADES])
            assert len(seen.chats) == 7
            make_model(url, **kept).fill([[user(A.copy(), "well?")]], [GRADES])
            assert len(seen.chats) == 7

    @pytest.mark.parametrize("damage", [b"\xff\xfe" * 4000, b"SQLite format 3\0" + bytes(4000)])
    def test_a_damaged_file_is_named_and_begun_anew(self, damage: bytes, tmp_path: Path, caplog: Any) -> None:
        with serving(in_turn("x")) as (url, seen):
            model = make_model(url, cache_dir=str(tmp_path))
            model.generate(conversations(1), 24)
            model.close()
            file = tmp_path / FILE
            file.write_bytes(damage)
            for _ in range(2):
                assert make_model(url, cache_dir=str(tmp_path)).generate(conversations(1), 24)[0] == ["x"]
            assert len(seen.chats) == 2
            assert str(file) in caplog.text
        assert [path.read_bytes() for path in tmp_path.glob("*.damaged-*")] == [damage]

    def test_a_full_disk_loses_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """At the third reply the disk is full."""
        put, count = ReplyCache._put, []

        def full(self: ReplyCache, key: str, response: str) -> None:
            count.append(key)
            if len(count) > 2:
                raise sqlite3.OperationalError("database or disk is full")
            put(self, key, response)

        with serving(in_turn("x")) as (url, seen):
            monkeypatch.setattr(ReplyCache, "_put", full)
            with pytest.raises(UserError, match=r"disk is full.*make room"):
                make_model(url, cache_dir=str(tmp_path), concurrency=1).generate(conversations(5), 24)
            assert len(seen.chats) == 3
            assert kept_in(tmp_path) == 2
            monkeypatch.undo()
            replies, _ = make_model(url, cache_dir=str(tmp_path)).generate(conversations(5), 24)
            assert replies == ["x"] * 5
            assert len(seen.chats) == 6

    def test_beyond_its_size_the_oldest_go(self, tmp_path: Path) -> None:
        cache = ReplyCache(tmp_path, max_mb=0.001)
        for number in range(20):
            cache.put(f"key{number}", "r" * 100)
        assert [number for number in range(20) if cache.get(f"key{number}")] == [*range(10, 20)]
        assert ReplyCache(tmp_path, max_mb=0.001).get("key19") == "r" * 100

    def test_several_processes_share_one(self, tmp_path: Path) -> None:
        one, other = ReplyCache(tmp_path, max_mb=1), ReplyCache(tmp_path, max_mb=1)
        one.put("a", "1")
        other.put("b", "2")
        assert (one.get("b"), other.get("a")) == ("2", "1")

    def test_each_further_machine_has_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ReplyCache(tmp_path, max_mb=1).put("a", "1")
        monkeypatch.setenv("GROUP_RANK", "3")  # torchrun's
        ReplyCache(tmp_path, max_mb=1).put("a", "2")
        assert sorted(path.name for path in tmp_path.glob("*.sqlite")) == ["replies-node3.sqlite", FILE]

    def test_a_file_that_another_process_began_anew_is_not_put_aside(self, tmp_path: Path) -> None:
        one, other = ReplyCache(tmp_path, max_mb=1), ReplyCache(tmp_path, max_mb=1)
        for cache in (one, other):
            cache.put("a", "1")
        (tmp_path / FILE).unlink()
        (tmp_path / FILE).write_bytes(b"new")
        one._put_aside(sqlite3.DatabaseError("malformed"))
        assert (tmp_path / FILE).read_bytes() == b"new"
        (tmp_path / FILE).unlink()
        other._put_aside(sqlite3.DatabaseError("malformed"))  # nor is one that is gone an error
        other.put("b", "2")
        assert other.get("b") == "2"


def kept_in(folder: Path) -> int:
    with sqlite3.connect(folder / FILE) as base:
        return int(base.execute("SELECT COUNT(*) FROM replies").fetchone()[0])


class TestRecording:
    def test_a_recorded_run_needs_no_server(self, real: str, tmp_path: Path) -> None:
        """With a failed attempt in it, and with replies that came from the cache."""
        asked = {"model": str(EMBEDDED["shapes"]), "concurrency": 2}
        with serving(then(error(500, "once"), last=passed_on(real))) as (url, _):
            make_model(url, cache_dir=str(tmp_path / "cache"), **asked).generate(conversations(2), 24)
            model = make_model(url, cache_dir=str(tmp_path / "cache"), record_dir=str(tmp_path / "record"), **asked)
            live = model.generate(conversations(4), 24)
        lines = [json.loads(line) for line in (tmp_path / "record" / "traffic.jsonl").read_text().splitlines()]
        assert sorted(line["cached"] for line in lines) == [False, False, True, True]
        assert all(line["status"] == 200 and line["seconds"] >= 0 for line in lines)
        assert "base64" not in json.dumps([line["request"] for line in lines])
        assert len(list((tmp_path / "record" / "images").iterdir())) == 4
        replay = make_model("http://127.0.0.1:1/v1", replay_dir=str(tmp_path / "record"), **asked)
        assert replay.generate(conversations(4), 24) == live
        with pytest.raises(UserError, match=r"has no request .* record it again"):
            replay.generate(conversations(5), 24)

    def test_failures_are_replayed_too(self, tmp_path: Path) -> None:
        with serving(in_turn(error(429, "wait", Retry_After="1"), A_WINS, "nonsense")) as (url, _):
            live = compare(url, record_dir=str(tmp_path))
        start = time.monotonic()
        again = compare("http://127.0.0.1:1/v1", replay_dir=str(tmp_path))
        assert live == again
        assert live.outcome is Outcome.FAILED
        assert time.monotonic() - start < 1.0  # a recording is not waited for
        statuses = [json.loads(line)["status"] for line in (tmp_path / "traffic.jsonl").read_text().splitlines()]
        assert statuses == [429, 200, 200]

    def test_a_line_cut_by_a_kill_costs_that_line_only(self, tmp_path: Path, caplog: Any) -> None:
        file = tmp_path / "traffic.jsonl"
        file.write_text('{"digest": "ab', encoding="utf-8")
        with serving(in_turn("x")) as (url, _):
            make_model(url, record_dir=str(tmp_path)).generate(conversations(2), 24)
        replies, _ = make_model("http://127.0.0.1:1/v1", replay_dir=str(tmp_path)).generate(conversations(2), 24)
        assert replies == ["x", "x"]
        assert f"line 1 of {file} is damaged" in caplog.text

    def test_no_recording(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=str(tmp_path)):
            make_model("http://127.0.0.1:1/v1", replay_dir=str(tmp_path))


class TestKey:
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUDGE_KEY", KEY)

    def test_it_reaches_the_server_and_nothing_else(self, tmp_path: Path, caplog: Any) -> None:
        """Even where the server repeats it in its replies and errors."""
        caplog.set_level(logging.DEBUG)
        seen_key = f"I was given {KEY}"
        answers = in_turn(error(500, seen_key), seen_key, error(400, seen_key), error(500, seen_key), error(401, seen_key))
        with serving(answers) as (url, seen):
            kept = {"cache_dir": str(tmp_path / "cache"), "record_dir": str(tmp_path / "record")}
            model = make_model(url, api_key_env="JUDGE_KEY", concurrency=1, **kept)
            replies, _ = model.generate(conversations(2), 24)
            with pytest.raises(UserError) as caught:
                model.generate(conversations(3), 24)
        assert [h["authorization"] for h in seen.headers] == [f"Bearer {KEY}"] * 5
        assert replies[0] == "I was given [API key]"
        assert "status 400" in str(replies[1])
        assert "status 401" in str(caught.value)
        chain: BaseException | None = caught.value
        while chain is not None:
            assert KEY not in repr(chain)
            chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {"traffic.jsonl"} < {path.name for path in written}
        assert all(KEY.encode() not in path.read_bytes() for path in written)
        assert "given" in (tmp_path / "record" / "traffic.jsonl").read_text()
        assert caplog.text
        assert KEY not in caplog.text
        assert KEY not in str(replies)

    @pytest.mark.parametrize("header", ["X-RapidAPI-Key", "Modal-Key", "x-litellm-key", "Proxy-Authorization", "x-auth-token"])
    def test_a_header_with_a_secret_does_not_travel_unencrypted(self, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GATEWAY_KEY", "short")
        with pytest.raises(UserError, match="would travel unencrypted"):
            make_model("http://judge.example/v1", headers={header: "GATEWAY_KEY"})
        make_model("http://judge.example/v1", headers={"x-portkey-provider": "GATEWAY_KEY"})

    def test_a_header_that_is_no_secret_is_left_in_replies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CACHE_ON", "true")
        monkeypatch.setenv("GATEWAY_KEY", "gate-1234567")
        headers = {"Helicone-Cache-Enabled": "CACHE_ON", "x-api-key": "GATEWAY_KEY"}
        with serving(in_turn("true as gate-1234567")) as (url, _):
            assert make_model(url, headers=headers).generate(conversations(1), 24)[0] == ["true as [API key]"]

    def test_a_config_holds_its_name_only(self) -> None:
        overrides = ["experiment=t2i_rpo", "judge=server", "judge.model.model=m", "judge.model.api_key_env=JUDGE_KEY"]
        assert KEY not in str(configure(overrides))

    @pytest.mark.parametrize("value", ["", "  ", f"{KEY} x", f"{KEY}\nx", f"{KEY}é"])
    def test_a_key_that_is_none(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUDGE_KEY", value)
        with pytest.raises(UserError, match=r"judge\.model.api_key_env=JUDGE_KEY") as caught:
            make_model("http://127.0.0.1:1/v1", api_key_env="JUDGE_KEY")
        assert KEY not in str(caught.value)

    def test_a_key_given_for_its_name_is_not_repeated(self) -> None:
        with pytest.raises(UserError, match="take it out of the config") as caught:
            make_model("http://127.0.0.1:1/v1", api_key_env=KEY)
        assert KEY not in str(caught.value)

    def test_none_in_the_address(self) -> None:
        with pytest.raises(UserError, match=r"judge\.model.api_key_env") as caught:
            make_model(f"http://me:{KEY}@127.0.0.1:1/v1")
        assert KEY not in str(caught.value)

    def test_without_a_name_no_key_is_looked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with serving(in_turn("x")) as (url, seen):
            make_model(url).generate(conversations(1), 24)
        assert KEY not in str(seen.headers)
