"""A local model that is held to a schema writes such an object, whatever it would rather write."""

from __future__ import annotations

import pytest

from arr_rpo.judge.asking import user
from arr_rpo.judge.forms import NoAnswer
from arr_rpo.judge.rubric_reply import parse_rubric
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.judge.written import CRITERIA, Written, prompt, themes
from arr_rpo.types import Criterion, Reason
from tests.judge.server.serving.models import A

ANYTHING = Written("anything", {"type": "object", "properties": {"a": {"enum": ["yes", "no"]}}, "required": ["a"],
                                "additionalProperties": False}, lambda text: None)  # fmt: skip


def test_what_it_was_taught_stays_as_it_is(judge: VLMJudge) -> None:
    """The same text as without a schema, and the same cost."""
    asked = [[user(f"prompt: a photo of a {kind}. write a rubric.")] for kind in ("red circle", "blue star", "green square")]
    model = judge.asker.model
    free, cost = model.generate(asked, 192)
    held, spent = model.write(asked, [CRITERIA] * 3, 192)
    assert held == free
    assert spent == cost
    assert all(parse_rubric(str(text), {}) for text in held)


def test_a_description_becomes_an_object(judge: VLMJudge) -> None:
    """Asked for a description, it writes one; held to a schema, an object of it; each row to its own."""
    asked = [[user(A, "describe the image.")], [user("prompt: a photo of a red circle. write a rubric.")]]
    free, _ = judge.asker.model.generate(asked, 24)
    assert free[0] == "upper left red circle"
    held, _ = judge.asker.model.write(asked, [ANYTHING, CRITERIA], 192)
    assert held[0] in ('{"a":"yes"}', '{"a":"no"}')
    assert parse_rubric(str(held[1]), {})


def test_a_limit_cuts_it_all_the_same(judge: VLMJudge) -> None:
    [text], _ = judge.asker.model.write([[user("prompt: a photo of a red circle. write a rubric.")]], [CRITERIA], 5)
    assert isinstance(text, NoAnswer)
    assert text.reason is Reason.CUT_OFF


@pytest.mark.parametrize("form", [CRITERIA, themes([Criterion("a", "is it a?")]), prompt(20)], ids=lambda form: form.name)
def test_every_form_has_a_grammar(judge: VLMJudge, form: Written) -> None:
    held = judge.asker.model.grammars.held([form.schema], 0)  # type: ignore[attr-defined]
    assert held._matchers[0].get_error() == ""
