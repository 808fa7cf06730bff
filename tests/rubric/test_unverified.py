"""The ablation without verification: what is written counts, and no judge is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate

from arr_rpo.rubric.auto_rubric import Settings, Task, auto_rubric, describe
from arr_rpo.rubric.refined import Global, PerPromptRefined
from arr_rpo.rubric.verify import Rule
from arr_rpo.types import Prompt, UserError
from tests.conftest import configure
from tests.rubric.doubles import GONE, STRICT, ScriptedJudge, ScriptedWriter, picture, preference, reply, settings

LENIENT = Rule(both_orders=True, min_heldout=0.0)
UNVERIFIED = Settings(LENIENT, 0, 8, structure=False, verify=False)
PROMPT = Prompt("p", "a photo of a red circle")
PAIRS = tuple(preference(str(i), PROMPT, picture("red circle", seed=i), picture("blue square", seed=i), "A") for i in range(5))


def never(*asked: Any) -> float:
    raise AssertionError("a judge was asked")


def made(*replies: Any, how: Settings = UNVERIFIED, **roles: Any) -> Any:
    judge: Any = ScriptedJudge(never, ScriptedWriter(write_pair=replies, **roles))
    [result], report = auto_rubric(judge, [Task(PAIRS[:3], PAIRS[3:], "write_pair", {"x": "y"})], how)
    return result, report


def test_what_is_written_counts_and_nobody_tries_it() -> None:
    result, report = made(reply("is it nonsense?"), reply("is it red?"), reply("is it red?", "is it round?"))
    assert [c.question for c in result.rubric.criteria] == ["is it nonsense?", "is it red?", "is it round?"]
    assert result.rubric.provenance == {"x": "y", "drafts_unverified": "3 of 3", "refinements": "0", "heldout_pairs": "0"}
    assert (report.drafts, report.written, report.verified, report.discarded, report.rubrics) == (3, 3, (), 0, 1)
    assert not result.unanswered


def test_it_is_structured_as_ever() -> None:
    themes = '{"themes": [{"theme": "t", "criteria": [2]}]}'
    how = Settings(LENIENT, 0, 8, structure=True, verify=False)
    result, _ = made(*[reply("is it red?", "is it round?")] * 3, how=how, structure=[themes])
    assert [(c.question, c.theme) for c in result.rubric.criteria] == [("is it round?", "t")]


def test_what_is_no_rubric_does_not_count() -> None:
    result, report = made("no JSON", GONE, reply("is it red?"))
    assert [c.question for c in result.rubric.criteria] == ["is it red?"]
    assert (report.written, report.malformed, report.unanswered) == (1, 1, 1)
    nothing, report = made("no JSON", "no JSON", "no JSON")
    assert (nothing.rubric, report.without) == (None, 1)


def test_identities_of_verified_rubrics_are_what_they_were() -> None:
    assert "verify" not in describe(settings())
    assert "verify=False" in describe(UNVERIFIED)


def test_nothing_is_held_out() -> None:
    with pytest.raises(UserError, match="rubric/settings=unverified"):
        Settings(STRICT, 0, 8, structure=True, verify=False)


@pytest.mark.parametrize(("rubric", "source"), [("global", Global), ("per_prompt_refined", PerPromptRefined)])
def test_config(rubric: str, source: type, tmp_path: Path) -> None:
    chosen = ["experiment=t2i_rpo", f"rubric={rubric}", "rubric/settings=unverified", f"rubric.store={tmp_path}"]
    built = instantiate(configure(chosen).rubric)
    assert isinstance(built, source)
    assert built.settings.verify is False
