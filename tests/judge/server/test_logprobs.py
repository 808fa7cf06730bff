"""Forms filled by a server's log-probabilities."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.judge.asking import user
from arr_rpo.judge.forms import YES_NO, NoAnswer, verdict
from arr_rpo.types import Cost, Outcome, UserError
from tests.judge.server.serving.models import (
    FORM,
    A,
    compare,
    in_turn,
    make_model,
)
from tests.judge.server.serving.wire import Response, completion, logprobs, serving


class TestLogprobs:
    """Against a server of our own that gives log-probabilities as vLLM does; the real one here gives none."""

    @staticmethod
    def model_of_tokens(number: int, path: str, body: Any) -> Response:
        """Sure of "yes" for A, doubtful about B, and of the better image as the criteria go."""
        last = body["messages"][-1]
        said = last["content"] if last["role"] == "assistant" else ""
        if said.endswith('"better":"'):
            chances = {"A": 0.9, "B": 0.05, "C": 0.05}
        elif said.endswith('"A":"') and '"met"' not in said:
            chances = {"yes": 0.6, "no": 0.2, "Yes": 0.2}
        elif said.endswith('"B":"') and '"met"' not in said:
            chances = {"no": 0.8, "maybe": 0.2}  # "yes" is not among the most probable
        else:
            chances = {"1": 0.5, "0": 0.25, "2": 0.25}
        return completion(next(iter(chances)), "length", logprobs=logprobs(chances))

    def test_each_slot_follows_the_most_probable_choices_before_it(self) -> None:
        form = verdict(["is there a circle?"])
        with serving(self.model_of_tokens) as (url, seen):
            [slots], [cost] = make_model(url, answers="logprobs").fill([[user(A, "which?")]], [form])
        assert isinstance(slots, list)
        yes_a, yes_b, met_a, met_b, better = slots
        assert yes_a == pytest.approx({"yes": 0.75, "no": 0.25})
        assert yes_b == pytest.approx({"yes": 0.0, "no": 1.0})
        assert met_a == met_b == pytest.approx({"0": 1 / 3, "1": 2 / 3})
        assert better == pytest.approx({"A": 0.9 / 0.95, "B": 0.05 / 0.95})
        assert cost == Cost(5, 210)
        assert [body["messages"][-1]["content"] for body in seen.chats] == [
            '{"criteria":{"is there a circle?":{"A":"',
            '{"criteria":{"is there a circle?":{"A":"yes","B":"',
            '{"criteria":{"is there a circle?":{"A":"yes","B":"no"}},"met":{"A":"',
            '{"criteria":{"is there a circle?":{"A":"yes","B":"no"}},"met":{"A":"1","B":"',
            '{"criteria":{"is there a circle?":{"A":"yes","B":"no"}},"met":{"A":"1","B":"1"},"better":"',
        ]
        for body in seen.chats:
            assert (body["max_completion_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
            assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)

    def test_a_bare_menu_is_the_reply_itself(self) -> None:
        with serving(lambda *_: completion("yes", logprobs=logprobs({"yes": 0.6, "no": 0.3}))) as (url, seen):
            [slots], _ = make_model(url, answers="logprobs").fill([[user(A, "?")]], [YES_NO])
        assert slots == [pytest.approx({"yes": 2 / 3, "no": 1 / 3})]
        assert seen.chats[0]["messages"][-1]["role"] == "user"
        assert "continue_final_message" not in seen.chats[0]

    def test_a_choice_of_several_tokens_is_known_by_its_first(self) -> None:
        """ "N" can only become "NA"; "1" is a choice itself, though "12" begins with it, too."""
        chances = {"N": 0.5, "1": 0.25, "No": 0.25}
        with serving(lambda *_: completion("N", logprobs=logprobs(chances))) as (url, _):
            model = make_model(url, answers="logprobs")
            [[grade], [number]], _ = model.fill([[user(A, "?")]] * 2, [("1", "2", "NA"), ("1", "12", "N")])
        assert grade == pytest.approx({"1": 1 / 3, "2": 0.0, "NA": 2 / 3})
        assert number == pytest.approx({"1": 1 / 3, "12": 0.0, "N": 2 / 3})

    @pytest.mark.parametrize("chances", [{"I": 0.6, "yes": 0.3, "no": 0.1}, {"I": 0.9}])
    def test_little_mass_on_the_menu_is_no_answer(self, chances: dict[str, float]) -> None:
        with serving(lambda *_: completion("I", logprobs=logprobs(chances))) as (url, seen):
            [slots], [cost] = make_model(url, answers="logprobs").fill([[user(A, "?")]], [FORM])
        assert isinstance(slots, NoAnswer)
        assert "yes/no holds only" in str(slots)
        assert len(seen.chats) == 1 == cost.calls

    def test_what_is_no_probability_is_no_answer(self) -> None:
        for impossible in (math.nan, 3.0):
            top = [{"token": "yes", "logprob": impossible}, {"token": "no", "logprob": -1.0}]
            odd = completion("yes", logprobs={"content": [{"token": "yes", "top_logprobs": top}]})
            with serving(lambda *_, odd=odd: odd) as (url, _):
                [slots], _ = make_model(url, answers="logprobs").fill([[user(A, "?")]], [YES_NO])
            assert isinstance(slots, NoAnswer)

    def test_a_server_without_them_is_the_users_to_change(self) -> None:
        with serving(in_turn("yes")) as (url, _), pytest.raises(UserError, match=r"judge\.model.answers=schema"):
            make_model(url, answers="logprobs").fill([[user(A, "?")]], [YES_NO])

    def test_verdicts_of_a_judge(self, tmp_path: Path) -> None:
        with serving(self.model_of_tokens) as (url, seen):
            first, second = (compare(url, answers="logprobs", cache_dir=str(tmp_path)) for _ in range(2))
        assert first == second
        assert first.p_a_by_order == pytest.approx((18 / 19, 1 / 19))  # "A" is better in either order
        assert first.outcome is Outcome.INCONSISTENT
        assert len(seen.chats) == 2 * 7
