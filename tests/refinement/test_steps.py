"""Reading a writer's prompt: strictly, and what cannot be read changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from arr_rpo.judge.asking import Conversation
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.rubric_reply import RubricError
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.judge.written import prompt_in as read_prompt
from arr_rpo.refinement.base import Attempt
from arr_rpo.refinement.loop import RefinementLoop
from arr_rpo.refinement.steps import Redraw, Rewrite
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.types import Cost, Grade, Prompt, UserError
from tests.conftest import make_judge
from tests.judge.test_asking import Listener, words
from tests.refinement.doubles import CRITIC, Painter, ScriptedJudge, Writer

BLANK = Image.new("RGB", (2, 2))
PROMPTS = [Prompt(str(i), f"prompt {i}") for i in range(3)]


def attempt(text: str, grade: float | None = 0.5) -> Attempt:
    return Attempt(text, (1, "p", 3), BLANK, Grade(grade, reason="too dark" if grade is not None else "no reply"))


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ('{"prompt": "a red cat"}', "a red cat"),
        (' {"prompt": "  a \\"red\\" cat, 两只 "}\n', 'a "red" cat, 两只'),
        (json.dumps({"prompt": "x" * 30}), "x" * 30),
    ],
)
def test_a_prompt_is_read(reply: str, text: str) -> None:
    assert read_prompt(reply, 30) == text


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "not JSON"),
        ("a red cat", "not JSON"),
        ('Here it is: {"prompt": "a red cat"}', "not JSON"),
        ('```json\n{"prompt": "a red cat"}\n```', "not JSON"),
        ('{"prompt": "a red cat"', "not JSON"),
        ('"a red cat"', "one key"),
        ('["a red cat"]', "one key"),
        ("{}", "one key"),
        ('{"text": "a red cat"}', "one key"),
        ('{"prompt": "a red cat", "why": "it is better"}', "one key"),
        ('{"prompt": "a", "prompt": "b"}', "twice"),
        ('{"prompt": null}', "must be text"),
        ('{"prompt": ["a"]}', "must be text"),
        ('{"prompt": " "}', "must be text"),
        ('{"prompt": "a red\\ncat"}', "one line"),
        ('{"prompt": "a red\\u2029cat"}', "one line"),
        (json.dumps({"prompt": "x" * 31}), "31 characters and may have 30"),
    ],
)
def test_what_is_no_prompt_is_not_mended(reply: str, why: str) -> None:
    with pytest.raises(RubricError, match=why):
        read_prompt(reply, 30)


def test_what_cannot_be_read_or_asked_leaves_the_last_text_and_says_why() -> None:
    trails = [(attempt("a"), attempt("b")), (attempt("c", None),), (attempt("d"),)]
    judge = ScriptedJudge([], Writer(["nonsense", '{"prompt": "e"}']))
    first, second, third = Rewrite(max_characters=9).revise(judge, PROMPTS, trails)
    assert (first.text, second.text, third.text) == ("b", "c", "e")
    assert "not JSON" in first.unread
    assert second.unread == "no critique: no reply"
    assert third.unread == ""
    assert [r.cost for r in (first, second, third)] == [Cost(2, 100), Cost(), Cost()]
    assert [asked[0] for asked in judge.writer.asked] == ["prompt 0", "prompt 2"]  # type: ignore[union-attr]
    failed = Rewrite(max_characters=9).revise(ScriptedJudge([], Writer()), PROMPTS[:1], [(attempt("c", None),)])
    assert failed[0].text == "c"


def test_a_redrawn_prompt_is_the_prompt() -> None:
    assert [r.text for r in Redraw().revise(OracleJudge(), PROMPTS, [(attempt("x"),)] * 3)] == [p.text for p in PROMPTS]


def test_judges_that_write_no_prompts_are_refused() -> None:
    rewrite = Rewrite(max_characters=9)
    rewrite.check(ScriptedJudge([], Writer()))
    with pytest.raises(UserError, match="'oracle' writes no prompts"):
        rewrite.check(OracleJudge())
    with pytest.raises(UserError, match=r"'shapes' has no text for the role 'refine_prompt'"):
        rewrite.check(make_judge())
    rewrite.check(make_judge("judge.wording=default"))
    with pytest.raises(UserError, match="max_characters=0"):
        Rewrite(max_characters=0)


class Author(Listener):
    """A model that says what it was asked for, a critique or a prompt."""

    def generate(
        self, conversations: Sequence[Conversation], max_new_tokens: int, *, more_follows: bool = False
    ) -> tuple[list[str | NoAnswer], Cost]:
        super().generate(conversations, max_new_tokens)
        asked = ['{"prompt"' in words(conversation) for conversation in conversations]
        return ['{"prompt": "one fine cat"}' if prompt else "the cat is not fine" for prompt in asked], Cost(1, 1)


def test_a_vision_language_model_criticises_and_rewrites() -> None:
    model, painter = Author(), Painter()
    lengths = {"max_description_tokens": 8, "max_critique_tokens": 8, "max_rubric_tokens": 8}
    more: Any = {"keys": "questions", "exemplars": None}
    judge = VLMJudge(model=model, wording="default", describe=False, tie_margin=0.1, **lengths, **more)
    loop = RefinementLoop(
        policy=painter,
        judge=judge,
        critic=CRITIC,
        refinement=Rewrite(max_characters=50),
        rounds=2,
        good_enough=None,
        seed=1,
    )
    [(first, second)] = loop.run([Prompt("1", "a cat")])
    assert (first.text, second.text, second.unread) == ("a cat", "one fine cat", "")
    assert first.grade.value == pytest.approx(0.5)  # of 1 to 4, all as likely
    [rewriting] = [conversation for conversation in model.asked if '{"prompt"' in words(conversation)]
    assert '"the cat is not fine"' in words(rewriting)
    assert "at most 50 characters" in words(rewriting)
