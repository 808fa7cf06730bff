"""What a server is asked for beside a plain answer: thoughts, numbers, votes, schemas; and how what it wrote is read."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.judge.asking import user
from arr_rpo.judge.forms import A_B, NoAnswer
from arr_rpo.judge.reasons import FIXES
from arr_rpo.types import Reason
from tests.judge.server.serving.models import A_WINS, B_WINS, conversations, in_turn, make_model
from tests.judge.server.serving.wire import Response, completion, serving

R = Reason


class TestThinking:
    def test_what_may_be_thought_is_counted(self) -> None:
        reply = json.loads(completion("<think>A has it.</think>A").body)
        reply["usage"] = {"total_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 7}}
        with serving(lambda *_: Response(200, json.dumps(reply).encode())) as (url, seen):
            [slots], [cost] = make_model(url, thinking_tokens=300).fill(conversations(1), [A_B])
        assert slots == [{"A": 1.0, "B": 0.0}]
        assert (cost.tokens, cost.thought, cost.dressed) == (50, 7, 1)
        assert seen.chats[0]["max_completion_tokens"] == 160 + 300

    @pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
    def test_an_answer_that_a_parser_took_for_the_thought(self, field: str) -> None:
        for text, reason in (("A", None), ("A has it, B has not.", R.ONLY_THOUGHT)):
            message = {"role": "assistant", "content": None, field: text}
            with serving(lambda *_, message=message: completion(None, message=message)) as (url, _):
                [slots], _ = make_model(url).fill(conversations(1), [A_B])
            if reason is None:
                assert slots == [{"A": 1.0, "B": 0.0}]
            else:
                assert isinstance(slots, NoAnswer)
                assert slots.reason is reason

    def test_a_limit_that_was_spent_on_the_thought(self) -> None:
        message = {"role": "assistant", "content": None, "reasoning_content": "A has it, but"}
        with serving(lambda *_: completion(None, "length", message=message)) as (url, _):
            [slots], _ = make_model(url).fill(conversations(1), [A_B])
        assert isinstance(slots, NoAnswer)
        assert slots.reason is R.ONLY_THOUGHT
        assert "thinking_tokens" in FIXES[slots.reason]
        with serving(lambda *_: completion("", "length")) as (url, _):
            [slots], _ = make_model(url).fill(conversations(1), [A_B])
        assert isinstance(slots, NoAnswer)
        assert slots.reason is R.CUT_OFF


class TestNumbers:
    @pytest.mark.parametrize(
        "usage",
        [
            None, [], "many", 7, {}, {"total_tokens": -5}, {"total_tokens": "42"}, {"total_tokens": None},
            {"total_tokens": True},
            {"total_tokens": 10**30}, {"total_tokens": [1]}, {"total_tokens": 1e400}, {"completion_tokens_details": "x"},
            {"completion_tokens_details": {"reasoning_tokens": -1}},
        ],
    )  # fmt: skip
    def test_a_count_that_is_none_costs_nothing_and_fails_nothing(self, usage: Any) -> None:
        reply = json.loads(completion("A").body)
        reply["usage"] = usage
        with serving(lambda *_: Response(200, json.dumps(reply).encode())) as (url, _):
            [slots], [cost] = make_model(url).fill(conversations(1), [A_B])
        assert slots == [{"A": 1.0, "B": 0.0}]
        assert (cost.calls, cost.tokens, cost.thought) == (1, 0, 0)

    def test_content_in_parts(self) -> None:
        parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "A"}]
        with serving(lambda *_: completion(None, message={"role": "assistant", "content": parts})) as (url, _):
            [slots], _ = make_model(url).fill(conversations(1), [A_B])
        assert slots == [{"A": 1.0, "B": 0.0}]

    @pytest.mark.parametrize("encoding", ["utf-16", "no-such-charset"])
    def test_a_charset_that_json_has_not(self, encoding: str) -> None:
        headers = {"Content-Type": f"application/json; charset={encoding}"}
        with serving(lambda *_: Response(200, "\ufeff".encode() + completion("Ä").body, headers)) as (url, _):
            assert make_model(url).generate(conversations(1), 9)[0] == ["Ä"]


def test_votes_without_seeds_are_not_one_vote_kept(tmp_path: Path) -> None:
    """A server that takes no seed is sent the same request again: each has its own reply, also from what is kept."""
    votes = iter(["A", "B", "A", "A"])
    given: dict[str, Any] = {
        "votes": 4,
        "parameters": {"temperature": 0.7},
        "fields": {"seed": None},
        "cache_dir": str(tmp_path),
    }
    with serving(lambda *_: completion(next(votes))) as (url, seen):
        first, _ = make_model(url, **given).fill(conversations(1), [A_B])
        again, _ = make_model(url, **given).fill(conversations(1), [A_B])
        assert not any("seed" in asked for asked in seen.chats)
        assert len(seen.chats) == 4
    assert first == again


def test_votes_are_averaged() -> None:
    votes = iter(["A", "A", "B", "hm"])
    with serving(lambda *_: completion(next(votes))) as (url, seen):
        model = make_model(url, votes=4, parameters={"temperature": 0.7})
        [slots], [cost] = model.fill(conversations(1), [A_B])
    assert slots == [pytest.approx({"A": 2 / 3, "B": 1 / 3})]  # what is no answer has no vote
    assert cost.calls == 4
    assert sorted(asked["seed"] for asked in seen.chats) == [0, 1, 2, 3]


def test_what_a_model_wrote_comes_back_without_control_tokens() -> None:
    turns = [user("look"), {"role": "assistant", "content": [{"type": "text", "text": "a star<|im_end|>"}]}, user("so?")]
    with serving(in_turn("x")) as (url, seen):
        make_model(url).generate([turns], 9)
    assert seen.chats[0]["messages"][1]["content"] == "a star\\u003c|im_end|>"


def test_requests_have_no_line_each_in_the_log(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    with serving(in_turn("x")) as (url, _):
        make_model(url).generate(conversations(3), 9)
    assert "HTTP Request" not in caplog.text


def test_writers_are_held_to_a_schema_and_read_as_judges_are(tmp_path: Any) -> None:
    """A fenced rubric is one; a cut one is none, and asked again where the first one is kept."""
    from arr_rpo.judge.written import CRITERIA

    rubric = '{"criteria":[{"name":"n","question":"is it red?"}]}'
    replies = iter([f"```json\n{rubric}\n```", rubric[:-3], rubric])
    with serving(lambda *_: completion(next(replies))) as (url, seen):
        kept = {"answers": "schema", "cache_dir": str(tmp_path), "concurrency": 1}
        texts, cost = make_model(url, **kept).write(conversations(2), [CRITERIA] * 2, 99)
        assert texts[0] == rubric
        assert cost.dressed == 1
        assert isinstance(texts[1], NoAnswer)
        assert texts[1].reason is R.NOT_JSON
        again, _ = make_model(url, **kept).write(conversations(2), [CRITERIA] * 2, 99)
        assert again == [rubric, rubric]
        assert len(seen.chats) == 3
    assert seen.chats[0]["response_format"]["json_schema"]["schema"]["required"] == ["criteria"]


def test_keys_are_numbers_or_questions() -> None:
    by_number = A_WINS.replace("is there a red circle?", "1").replace("is there exactly one object in total?", "2")
    other = B_WINS.replace("is there a red circle?", "1").replace("is there exactly one object in total?", "2")
    from tests.judge.server.serving.models import PROMPT, RUBRIC, A, B, make_judge

    with serving(in_turn(by_number, other)) as (url, seen):
        model = make_model(url, concurrency=1, answers="schema")
        [verdict] = make_judge(model, describe=False, keys="numbers").compare([PROMPT], [(A, B)], [RUBRIC])
    assert verdict.p_a == 1.0
    assert [check.question for check in verdict.checks] == [c.question for c in RUBRIC.criteria]
    held = seen.chats[0]["response_format"]["json_schema"]["schema"]
    assert list(held["properties"]["criteria"]["properties"]) == ["1", "2"]
