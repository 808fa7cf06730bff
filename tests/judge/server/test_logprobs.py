"""Forms filled by a server's log-probabilities: one reply, whose tokens tell what could have stood in their places."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.judge.asking import user
from arr_rpo.judge.forms import YES_NO, Form, NoAnswer, Slots, pieces, verdict
from arr_rpo.judge.server.completion import Token
from arr_rpo.judge.server.logprobs import slots_of
from arr_rpo.types import Cost, Outcome, Reason, UserError
from tests.judge.server.serving.models import A, compare, in_turn, make_model
from tests.judge.server.serving.wire import Response, completion, logprobs, serving

ONE = verdict(["is there a circle?"])
CHANCES = [
    {"yes": 0.6, "no": 0.2, "Yes": 0.2},
    {"no": 0.8, "maybe": 0.2},
    *[{"1": 0.5, "0": 0.25, "2": 0.25}] * 2,
    {"A": 0.9, "B": 0.05, "C": 0.05},
]


def entries(tokens: Sequence[tuple[str, Mapping[str, float]]]) -> dict[str, Any]:
    """The field of a choice that lists each token with its alternatives."""
    content = []
    for text, chances in tokens:
        top = [{"token": t, "logprob": math.log(p), "bytes": list(t.encode())} for t, p in chances.items()]
        content.append({"token": text, "logprob": math.log(chances[text]), "bytes": list(text.encode()), "top_logprobs": top})
    return {"content": content}


def written(form: Form, chances: Sequence[Mapping[str, float]]) -> tuple[str, list[tuple[str, Mapping[str, float]]]]:
    """The reply of a model that chooses the first of each, and its tokens: fixed texts letter by letter."""
    left, tokens = iter(chances), list[tuple[str, Mapping[str, float]]]()
    for piece in pieces(form):
        if isinstance(piece, str):
            tokens += [(letter, {letter: 1.0}) for letter in piece]
        else:
            chosen = next(left)
            tokens.append((next(iter(chosen)), chosen))
    return "".join(text for text, _ in tokens), tokens


def replied(form: Form, chances: Sequence[Mapping[str, float]]) -> Response:
    text, tokens = written(form, chances)
    return completion(text, logprobs=entries(tokens))


def token(chances: Mapping[str, float], least: float | None = None) -> Token:
    text = next(iter(chances))
    return Token(text.encode(), chances, min(chances.values()) if least is None else least)


def menu(chances: Mapping[str, float], *choices: str, least: float | None = None) -> Slots | NoAnswer:
    return slots_of(choices or YES_NO, "", [token(chances, least)], min_mass=0.5, max_open=0.1)


class TestRequests:
    def test_one_request_fills_a_form(self) -> None:
        with serving(lambda *_: replied(ONE, CHANCES)) as (url, seen):
            [slots], [cost] = make_model(url, answers="logprobs").fill([[user(A, "which?")]], [ONE])
        assert isinstance(slots, list)
        yes_a, yes_b, met_a, met_b, better = slots
        assert yes_a == pytest.approx({"yes": 0.8, "no": 0.2})  # "Yes" says it, too
        assert yes_b == pytest.approx({"yes": 0.0, "no": 1.0})
        assert met_a == met_b == pytest.approx({"0": 1 / 3, "1": 2 / 3})
        assert better == pytest.approx({"A": 0.9 / 0.95, "B": 0.05 / 0.95})
        assert cost == Cost(1, 42)
        [body] = seen.chats
        assert (body["max_completion_tokens"], body["logprobs"], body["top_logprobs"]) == (160, True, 20)
        assert body["response_format"]["json_schema"]["schema"]["required"] == ["criteria", "met", "better"]

    def test_a_bare_menu_is_the_reply_itself(self) -> None:
        with serving(lambda *_: completion("yes", logprobs=logprobs({"yes": 0.6, "no": 0.3}))) as (url, seen):
            [slots], _ = make_model(url, answers="logprobs").fill([[user(A, "?")]], [YES_NO])
        assert slots == [pytest.approx({"yes": 2 / 3, "no": 1 / 3})]
        assert seen.chats[0]["max_completion_tokens"] == 1
        assert "response_format" not in seen.chats[0]

    def test_a_word_may_begin_with_a_capital_and_a_letter_may_not_be_small(self) -> None:
        found = slots_of(YES_NO, "Yes", [token({"Yes": 0.9, "yes": 0.05, "No": 0.05})], 0.5, 0.1)
        assert found == [pytest.approx({"yes": 0.95, "no": 0.05})]
        small = slots_of(("A", "B"), "A", [token({"A": 0.2, "a": 0.8})], 0.5, 0.1)
        assert isinstance(small, NoAnswer) and "holds only 0.20" in str(small)

    @pytest.mark.parametrize("impossible", [math.nan, 3.0])
    def test_what_is_no_probability_is_no_answer(self, impossible: float) -> None:
        top = [{"token": "yes", "logprob": impossible}, {"token": "no", "logprob": -1.0}]
        odd = completion("yes", logprobs={"content": [{"token": "yes", "logprob": -1.0, "top_logprobs": top}]})
        with serving(lambda *_: odd) as (url, _):
            [slots], _ = make_model(url, answers="logprobs").fill([[user(A, "?")]], [YES_NO])
        assert isinstance(slots, NoAnswer)
        assert slots.reason is Reason.BROKEN_RESPONSE

    def test_what_was_not_asked_for_spoils_nothing(self) -> None:
        odd = completion("yes", logprobs=logprobs({"yes": 0.8, "no": 0.7}))
        with serving(lambda *_: odd) as (url, _):
            [slots], _ = make_model(url, answers="schema").fill([[user(A, "?")]], [YES_NO])
        assert slots == [{"yes": 1.0, "no": 0.0}]

    def test_more_than_one_altogether_is_no_answer(self) -> None:
        odd = completion("yes", logprobs=logprobs({"yes": 0.8, "no": 0.7}))
        with serving(lambda *_: odd) as (url, _):
            [slots], _ = make_model(url, answers="logprobs").fill([[user(A, "?")]], [YES_NO])
        assert isinstance(slots, NoAnswer)
        assert "1.50 altogether" in str(slots)

    def test_a_reply_that_was_given_up_is_asked_again(self) -> None:
        whole = completion("yes", logprobs=logprobs({"yes": 0.6, "no": 0.4}))
        with serving(in_turn(completion("yes", logprobs={"content": []}), whole)) as (url, seen):
            [slots], _ = make_model(url, answers="logprobs").fill([[user(A, "?")]], [YES_NO])
        assert slots == [pytest.approx({"yes": 0.6, "no": 0.4})]
        assert len(seen.chats) == 2

    def test_a_server_without_them_is_the_users_to_change(self) -> None:
        with serving(in_turn("yes")) as (url, _), pytest.raises(UserError, match=r"judge\.model.answers=schema"):
            make_model(url, answers="logprobs").fill([[user(A, "?")]], [YES_NO])

    def test_verdicts_of_a_judge(self, tmp_path: Path) -> None:
        def always_a(number: int, path: str, body: Any) -> Response:
            form = verdict(re.findall(r'"(is [^"]*)": *\{', body["messages"][-1]["content"][-1]["text"]) or ASKED)
            n = 2
            return replied(form, [*CHANCES[:2] * n, *CHANCES[2:]])

        with serving(always_a) as (url, seen):
            first, second = (compare(url, answers="logprobs", cache_dir=str(tmp_path)) for _ in range(2))
        assert first == second
        assert first.p_a_by_order == pytest.approx((18 / 19, 1 / 19))  # "A" is better in either order
        assert first.outcome is Outcome.INCONSISTENT
        assert len(seen.chats) == 2


ASKED = ("is there a red circle?", "is there exactly one object in total?")


class TestMenus:
    def test_a_choice_of_several_tokens_is_known_by_its_first(self) -> None:
        """ "N" can only become "NA"; "1" is a choice itself, though "12" begins with it, too."""
        chances = {"N": 0.5, "1": 0.25, "No": 0.25}
        assert menu(chances, "1", "2", "NA") == [pytest.approx({"1": 1 / 3, "2": 0.0, "NA": 2 / 3})]
        assert menu(chances, "1", "12", "N") == [pytest.approx({"1": 1 / 3, "12": 0.0, "N": 2 / 3})]

    def test_a_space_before_a_choice_is_none_of_it(self) -> None:
        found = menu({" A": 0.2, "▁A": 0.2, "ĠA": 0.2, "A": 0.1, "ĠB": 0.3}, "A", "B")
        assert found == [pytest.approx({"A": 0.7, "B": 0.3})]

    @pytest.mark.parametrize("chances", [{"I": 0.6, "yes": 0.3, "no": 0.1}, {"I": 0.9}])
    def test_little_mass_on_the_menu_is_no_answer(self, chances: dict[str, float]) -> None:
        found = menu(chances)
        assert isinstance(found, NoAnswer)
        assert found.reason is Reason.OFF_MENU
        assert "yes/no holds only" in str(found)

    @pytest.mark.parametrize(
        ("chances", "low", "high"),
        [
            ({"A": 0.55}, 0.55, 1.0),  # the chosen token alone: B may hold all the rest
            ({"A": 0.5, "The": 0.2}, 0.5 / 0.7, 1.0),  # B at most as much as the least one listed
        ],
    )
    def test_what_is_not_listed_may_decide(self, chances: dict[str, float], low: float, high: float) -> None:
        found = menu(chances, "A", "B", least=1.0 if len(chances) == 1 else None)
        assert isinstance(found, NoAnswer)
        assert found.reason is Reason.OPEN
        assert f"between {low:.2f} and {high:.2f}" in str(found)

    def test_what_is_not_listed_cannot_decide(self) -> None:
        """Five tokens are listed, B is none of them and holds at most 0.02: A has between 0.88/0.90 and all."""
        [slot] = menu({"A": 0.88, "The": 0.04, "I": 0.03, "An": 0.02, "x": 0.02}, "A", "B")
        assert slot == pytest.approx({"A": 0.88 / 0.885, "B": 0.005 / 0.885})  # 0.01 is left of one


class TestPlaces:
    @pytest.mark.parametrize(
        "split",
        [
            ['{"better":', '"A', '"}'],  # a quote and the choice in one token
            ['{"better":"', "A", '"}'],
            ['{"better":"', 'A"', "}"],
            ['{ "better" :\n  "', "A", '" }'],  # white space that JSON allows
        ],
    )
    def test_the_token_in_which_a_choice_begins(self, split: list[str]) -> None:
        where = next(i for i, text in enumerate(split) if "A" in text)
        chances = {split[where]: 0.75, split[where].replace("A", "B"): 0.25}
        tokens = [Token(text.encode(), chances if i == where else {text: 1.0}, 0.0) for i, text in enumerate(split)]
        [slot] = slots_of({"better": ("A", "B")}, "".join(split), tokens, 0.5, 0.1)
        assert slot == pytest.approx({"A": 0.75, "B": 0.25})

    def test_an_object_in_its_dressing(self) -> None:
        """A server that takes no schema: the places are those of the object, whatever quotes stand around it."""
        text = 'The "better" one:\n```json\n{"better":"A"}\n```'
        tokens = [(letter, {letter: 1.0}) for letter in text]
        at = text.index('"A"') + 1
        tokens[at] = ("A", {"A": 0.75, "B": 0.25})
        reply = completion(text, logprobs=entries(tokens))
        with serving(lambda *_: reply) as (url, _):
            [[slot]], [cost] = make_model(url, answers="logprobs").fill([[user(A, "?")]], [{"better": ("A", "B")}])
        assert slot == pytest.approx({"A": 0.75, "B": 0.25})
        assert cost.dressed == 1

    def test_keys_in_another_order(self) -> None:
        said = '{"b":"no","a":"yes"}'
        tokens = [Token(c.encode(), {c: 1.0}, 0.0) for c in '{"b":"']
        tokens += [Token(b"no", {"no": 0.9, "yes": 0.1}, 0.0), *(Token(c.encode(), {c: 1.0}, 0.0) for c in '","a":"')]
        tokens += [Token(b"yes", {"yes": 0.7, "no": 0.3}, 0.0), *(Token(c.encode(), {c: 1.0}, 0.0) for c in '"}')]
        found = slots_of({"a": YES_NO, "b": YES_NO}, said, tokens, 0.5, 0.1)
        assert found == [pytest.approx({"yes": 0.7, "no": 0.3}), pytest.approx({"yes": 0.1, "no": 0.9})]

    def test_letters_of_several_bytes(self) -> None:
        said = '{"左に椅子?":"yes"}'
        whole = said.encode()
        at = whole.index(b"yes")
        tokens = [Token(whole[i : i + 1], {"?": 1.0}, 0.0) for i in range(at)]
        tokens += [Token(b"yes", {"yes": 0.8, "no": 0.2}, 0.0), Token(b'"}', {'"}': 1.0}, 0.0)]
        assert slots_of({"左に椅子?": YES_NO}, said, tokens, 0.5, 0.1) == [pytest.approx({"yes": 0.8, "no": 0.2})]

    def test_tokens_of_another_reply(self) -> None:
        found = slots_of({"a": YES_NO}, '{"a":"yes"}', [token({"no": 1.0})], 0.5, 0.1)
        assert isinstance(found, NoAnswer)
        assert found.reason is Reason.OPEN
