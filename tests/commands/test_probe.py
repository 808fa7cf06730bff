"""What a probe finds out about a server, and what it prints to go on with."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from arr_rpo.commands.probe import probe
from arr_rpo.judge.pictures import AS_THEY_ARE
from arr_rpo.judge.server.chat import DataUrls, messages
from arr_rpo.judge.server.questions import known
from arr_rpo.types import Reason, UserError
from tests.conftest import configure
from tests.judge.server.serving.wire import Answer, Response, completion, error, serving


def that_sees(blind_to: str = "") -> Answer:
    """A server that knows the answers, has no log-probabilities, and wants to be asked for an object before it writes one."""
    urls = DataUrls(AS_THEY_ARE, 10**8)
    answers = {json.dumps(messages(q.conversation, urls)): q for q in known() if q.name != blind_to}

    def answer(number: int, path: str, body: Any) -> Response:
        asked = answers.get(json.dumps(body["messages"]))
        if asked is None:
            return completion("yes")  # the speed is measured with other conversations
        if isinstance(asked.form, tuple):
            return completion(asked.right[0])
        text = json.dumps(dict(zip(asked.form, asked.right, strict=True)))
        return completion(text if "response_format" in body else f"The colours: {text} and {text}")

    return answer


def probed(url: str) -> Any:
    overrides = [f"judge.model.base_url={url}", "judge.model.model=m", "judge.model.revision=r", "at_once=[1,4]", "least=2"]
    return probe(configure(overrides, "probe"))


def test_the_way_that_works_best_is_the_one_to_go_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(that_sees()) as (url, _):
        ways = probed(url)
    assert {name: way.score for name, way in ways.items()} == {"generated": 9, "schema": 10, "logprobs": 0}
    assert "gives no log-probabilities" in ways["logprobs"].impossible
    assert ways["generated"].reasons == (Reason.AMBIGUOUS,)
    printed = capsys.readouterr().out
    assert "ambiguous: hold the judge to the form" in printed
    assert "1 at once" in printed and "4 at once" in printed
    config = yaml.safe_load(printed.split("A config to go on with:")[1])
    assert config["judge"]["model"]["answers"] == "schema"
    assert config["judge"]["model"]["base_url"] == url


def test_what_it_does_not_see_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(that_sees(blind_to="count")) as (url, _):
        ways = probed(url)
    assert ways["schema"].score == 9
    assert "no_choice" in ways["schema"].said
    assert "✗ no_choice" in capsys.readouterr().out


def test_a_server_that_does_nothing_right() -> None:
    with serving(lambda *_: error(400, "no")) as (url, _), pytest.raises(UserError, match="none of the ways"):
        probed(url)


def test_a_judge_without_a_server() -> None:
    with pytest.raises(UserError, match="judge=server"):
        probe(configure(["judge=shapes"], "probe"))
