"""A judge behind a real server says what it says in process; what is sent; and forms filled by text."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from arr_rpo.judge.asking import assistant, user
from arr_rpo.judge.forms import A_B, GRADES, YES_NO, NoAnswer
from arr_rpo.judge.generated import fill_by_generation
from arr_rpo.judge.local.loading import EMBEDDED
from arr_rpo.judge.pictures import AS_THEY_ARE, Pictures
from arr_rpo.judge.server.chat import DataUrls
from arr_rpo.types import Cost, Outcome, Reason, UserError
from tests.conftest import configure
from tests.judge.server.serving.models import (
    A_WINS,
    B_WINS,
    DRAWINGS,
    FORM,
    PROMPT,
    QUESTIONS,
    RUBRIC,
    A,
    B,
    compare,
    conversations,
    in_turn,
    make_judge,
    make_model,
)
from tests.judge.server.serving.wire import Response, completion, free_port, serving


@pytest.fixture(scope="module")
def local() -> Any:
    config = configure(["experiment=t2i_rpo", "judge.model.answers=generated"])
    return instantiate(config.judge.model)


class TestAgainstTheModelInProcess:
    """Greedy text of the same weights: whatever the judge says, it says the same thing here and there."""

    def test_texts(self, real: str, local: Any) -> None:
        asked = [
            *([user(image, "describe the image.")] for image in DRAWINGS),
            [user(A, "describe the image."), assistant("upper left red circle"), user("is there a red circle?")],
            [user("image A.", A, "image B.", B, "which image is better, A or B?")],
            [user("prompt: a photo of a red circle. write a rubric.")],
        ]
        there, cost = make_model(real, model=str(EMBEDDED["shapes"])).generate(asked, 64)
        here, cost_here = local.generate(asked, 64)
        assert there == [text or there[i] for i, text in enumerate(here)]
        assert any(there)
        assert cost.calls == cost_here.calls == 7

    def test_verdicts(self, real: str, local: Any) -> None:
        """Outcomes, probabilities, and the words that were no answer. Only the server says that a form was cut off."""
        far, near = make_judge(make_model(real, model=str(EMBEDDED["shapes"]), max_form_tokens=160)), make_judge(local)
        pairs, both, questions = [(A, B), (B, A), (DRAWINGS[2], DRAWINGS[3])], [PROMPT] * 2, [QUESTIONS[0]] * 2
        for ask in (
            lambda judge: [(v.reason, v.outcome, v.p_a, v.checks) for v in judge.compare([PROMPT] * 3, pairs, [RUBRIC] * 3)],
            lambda judge: [(v.reason, v.outcome, v.p_a, v.checks) for v in judge.compare([PROMPT] * 3, pairs, [None] * 3)],
            lambda judge: [(s.reason, s.value) for s in judge.score(both, [A, B])],
            lambda judge: [(a.reason, a.value) for a in judge.check(both, [A, B], questions)],
        ):
            for there, here in zip(ask(far), ask(near), strict=True):
                assert there[1:] == here[1:]
                assert there[0] == here[0] or "cut off" in there[0]


class TestRequests:
    def test_pictures_travel_without_loss(self) -> None:
        with serving(in_turn("x")) as (url, seen):
            make_model(url).generate([[user("look:", A, "well?"), assistant("a circle"), user("so?")]], 7)
        [body] = seen.chats
        first, second, third = body["messages"]
        assert [part["type"] for part in first["content"]] == ["text", "image_url", "text"]
        head, data = first["content"][1]["image_url"]["url"].split(",")
        assert head == "data:image/png;base64"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), np.asarray(A))
        assert second == {"role": "assistant", "content": "a circle"}
        assert third["role"] == "user"
        assert (body["model"], body["max_completion_tokens"], body["temperature"]) == ("m", 7, 0.0)

    def test_a_picture_is_encoded_once_and_takes_none_of_the_servers_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encoded: list[Image.Image] = []

        def slowly(image: Image.Image) -> bytes:
            encoded.append(image)
            time.sleep(1.6)
            return b"png"

        monkeypatch.setattr(Pictures, "encoded", lambda self, image: slowly(image))
        with serving(in_turn("x", "x", "x")) as (url, seen):
            model = make_model(url, timeout=1.5, retries=0, concurrency=1)
            replies, _ = model.generate([[user("look:", A, question)] for question in "abc"], 7)
        assert replies == ["x", "x", "x"]
        assert len(seen.chats) == 3 and len(encoded) == 1

    def test_of_pictures_that_take_too_much_room_the_last_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encoded: list[Image.Image] = []
        monkeypatch.setattr(Pictures, "encoded", lambda self, image: encoded.append(image) or b"x" * 300)
        urls = DataUrls(AS_THEY_ARE, most=1000)  # two of 422 characters
        pictures = [Image.new("RGB", (2, 2), (n, 0, 0)) for n in range(3)]
        for n in (0, 1, 0, 2, 0, 1):  # 2 takes the place of 1, which was asked for longest ago
            urls(pictures[n])
        assert encoded == [pictures[n] for n in (0, 1, 2, 1)]

    def test_no_more_at_once_than_allowed(self) -> None:
        here, most, lock = 0, 0, threading.Lock()

        def answer(number: int, path: str, body: Any) -> Response:
            nonlocal here, most
            with lock:
                here += 1
                most = max(most, here)
            time.sleep(0.03)
            with lock:
                here -= 1
            return completion("x")

        with serving(answer) as (url, seen):
            make_model(url, concurrency=3).generate(conversations(12), 7)
        assert len(seen.chats) == 12
        assert most == 3

    def test_cost_is_what_the_server_counts(self) -> None:
        with serving(in_turn(A_WINS, B_WINS)) as (url, _):
            judged = compare(url)
        assert judged.cost == Cost(calls=2, tokens=84)
        assert (judged.outcome, judged.p_a, judged.p_a_by_order) == (Outcome.A, 1.0, (1.0, 1.0))
        assert [(c.a, c.b) for c in judged.checks] == [(1.0, 0.0), (1.0, 0.0)]

    def test_a_schema_is_sent_where_the_server_is_to_be_held_to_it(self) -> None:
        with serving(in_turn(A_WINS, "3")) as (url, seen):
            model = make_model(url, answers="schema")
            [[*slots]], _ = model.fill(conversations(1), [FORM])
            [grade], _ = model.fill(conversations(1), [GRADES])
        assert slots[-1] == {"A": 1.0, "B": 0.0}
        assert grade == [{"1": 0.0, "2": 0.0, "3": 1.0, "4": 0.0, "5": 0.0}]
        held = seen.chats[0]["response_format"]["json_schema"]
        assert held["strict"] and held["schema"]["type"] == "object"
        assert held["schema"]["required"] == ["criteria", "met", "better"]
        assert "response_format" not in seen.chats[1]  # "reply with exactly one digit": an object would be another answer

    def test_what_the_server_gave_up_is_asked_again(self) -> None:
        replies = iter([completion("", finish_reason="abort"), completion("A", finish_reason="abort"), completion("B")])
        with serving(lambda *_: next(replies)) as (url, seen):
            [[slot]], _ = make_model(url, retries=3, first_wait=0.01).fill(conversations(1), [A_B])
        assert slot == {"A": 0.0, "B": 1.0}
        assert len(seen.chats) == 3

    def test_unknown_way_of_answering(self) -> None:
        with pytest.raises(UserError, match="generated, schema, logprobs"):
            make_model("http://127.0.0.1:1/v1", answers="guess")

    @pytest.mark.parametrize("name", ["server", "vllm"])
    def test_configs(self, name: str) -> None:
        overrides = ["experiment=t2i_rpo", f"judge={name}", "judge.model.model=m", "judge.model.revision=r"]
        nested = "+judge.model.parameters.chat_template_kwargs.enable_thinking=false"
        with serving(in_turn("x")) as (url, seen):
            config = configure([*overrides, nested, f"judge.model.base_url={url}", "judge.model.check_at_start=false"]).judge
            assert OmegaConf.to_container(config.model)["cache_dir"] == "${run_dir}/judge_replies"
            config.model.cache_dir = None
            model = instantiate(config.model)
            model.generate([[user("well?")]], 7)
        assert (model.name, model.revision()) == ("m", "r")
        assert model.answers == {"server": "schema", "vllm": "logprobs"}[name]
        assert seen.chats[0]["chat_template_kwargs"] == {"enable_thinking": False}


MODELS = {"data": [{"id": "m", "created": 1, "root": "org/m", "permission": [{"id": "a"}]}, {"id": "n", "root": "org/n"}]}


class TestRevision:
    def ask(self, models: Any, **changes: Any) -> str:
        with serving(lambda *_: Response(200, json.dumps(models).encode())) as (url, _):
            return make_model(url, revision=None, **changes).revision()

    def test_it_changes_with_the_model_and_not_with_the_hour(self) -> None:
        later = {"data": [{"id": "m", "created": 2, "root": "org/m", "permission": [{"id": "b"}]}]}
        other = {"data": [{"id": "m", "created": 1, "root": "org/m-v2"}]}
        assert self.ask(MODELS) == self.ask(later) != self.ask(other)

    def test_a_name_the_server_does_not_know(self) -> None:
        with pytest.raises(UserError, match=r"'o'.*lists \['m', 'n'\].*judge.model.revision"):
            self.ask(MODELS, model="o")

    def test_no_server(self) -> None:
        url = f"http://127.0.0.1:{free_port()}/v1"
        with pytest.raises(UserError, match=f"{url} does not answer /models: connection failed"):
            make_model(url, revision=None).revision()

    def test_the_real_server_lists_what_is_in_the_hub_cache(self, real: str) -> None:
        with pytest.raises(UserError, match=r"lists no model.*judge\.model\.revision"):
            make_model(real, revision=None).revision()


class TestFillingByGeneration:
    def test_each_reply_is_read_by_its_form(self) -> None:
        def generate(asked: Any, most: int) -> tuple[list[str | NoAnswer], Cost]:
            assert most == 9
            return ["yes", "no or yes", NoAnswer(Reason.UNREACHABLE, "gone"), A_WINS], Cost(4, 50)

        answers, costs = fill_by_generation(generate, conversations(4), [YES_NO, YES_NO, A_B, FORM], 9)
        assert answers[0] == [{"yes": 1.0, "no": 0.0}]
        assert str(answers[1]).startswith("'no or yes' is none of yes/no")
        assert str(answers[2]) == "gone"
        assert [max(slot, key=slot.__getitem__) for slot in answers[3]] == ["yes", "no", "yes", "no", "2", "0", "A"]  # type: ignore[union-attr]
        assert costs == [Cost(4, 50), Cost(), Cost(), Cost()]

    def test_nothing(self) -> None:
        assert fill_by_generation(lambda *_: ([], Cost()), [], [], 9) == ([], [])
