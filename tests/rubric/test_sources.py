"""Where rubrics come from: every source of the `rubric` group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hydra.utils import instantiate

from arr_rpo.data.prompts import read_prompts
from arr_rpo.rubric.controls import Dropout, Shuffled
from arr_rpo.rubric.files import to_yaml
from arr_rpo.rubric.refined import Global, PerPromptRefined
from arr_rpo.rubric.sources import FromFile, PerPrompt
from arr_rpo.rubric.verify import Rule
from arr_rpo.shapes.world.general import GENERAL
from arr_rpo.types import Prompt, Rubric, UserError
from tests.conftest import configure
from tests.rubric.doubles import GONE, ORACLE, ScriptedJudge, ScriptedWriter, indifferent, picture, questions, reply, rubric_of

HELDOUT = read_prompts("shapes/heldout")


# -- per prompt -----------------------------------------------------------------------------------------------------------


def test_each_prompt_is_written_for_once(tmp_path: Path) -> None:
    writer = ScriptedWriter(write=[reply("p?"), reply("q?")])
    judge: Any = ScriptedJudge(indifferent, writer)
    prompts = [Prompt("1", "p"), Prompt("2", "q"), Prompt("3", "p")]
    source = PerPrompt(store=str(tmp_path))
    assert questions(source.rubrics(prompts, judge)) == [["p?"], ["q?"], ["p?"]]
    assert questions(PerPrompt(store=str(tmp_path)).rubrics(prompts, judge)) == [["p?"], ["q?"], ["p?"]]
    assert len(writer.asked) == 2
    assert (source.cost.calls, source.counts.rubrics, source.counts.without) == (2, 2, 0)


def test_a_writer_that_does_not_answer_is_asked_again(tmp_path: Path) -> None:
    """A server that is away is no malformed reply, and leaves nothing in the store."""
    judge: Any = ScriptedJudge(indifferent, ScriptedWriter(write=[GONE, reply("p?")]))
    source = PerPrompt(store=str(tmp_path))
    assert source.rubrics([Prompt("1", "p")], judge) == [None]
    assert (source.counts.without, source.counts.unanswered, source.counts.malformed) == (1, 1, 0)
    assert questions(source.rubrics([Prompt("1", "p")], judge)) == [["p?"]]


def test_a_source_image_makes_another_prompt(tmp_path: Path) -> None:
    """ "make it red" asks for something else of each picture."""
    writer = ScriptedWriter(write=[reply("one?"), reply("two?"), reply("none?")])
    prompts = [Prompt("1", "p", {}, picture("red circle")), Prompt("2", "p", {}, picture("blue star")), Prompt("3", "p")]
    judge: Any = ScriptedJudge(indifferent, writer)
    assert questions(PerPrompt(store=str(tmp_path)).rubrics(prompts, judge)) == [["one?"], ["two?"], ["none?"]]


def test_a_reply_that_is_no_rubric_is_missing_and_counted(tmp_path: Path) -> None:
    judge: Any = ScriptedJudge(indifferent, ScriptedWriter(write=["sorry"]))
    source = PerPrompt(store=str(tmp_path))
    assert source.rubrics([Prompt("1", "p")], judge) == [None]
    assert (source.counts.without, source.counts.malformed, source.counts.without) == (1, 1, 1)
    assert not list(tmp_path.iterdir())


# -- from files -----------------------------------------------------------------------------------------------------------


def test_files_by_prompt_and_one_for_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(to_yaml(Rubric(rubric_of("p?").criteria, {"prompt": "p"})), encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"criteria": [{"name": "n", "question": "any?"}]}), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not read", encoding="utf-8")
    source = FromFile(path=str(tmp_path))
    assert questions(source.rubrics([Prompt("1", "p"), Prompt("2", "q")], ORACLE)) == [["p?"], ["any?"]]
    assert source.counts.without == 0


def test_a_prompt_that_no_file_names_is_missing_and_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rubrics: [{prompt: p, criteria: [{name: n, question: x}]}]\n", encoding="utf-8")
    source = FromFile(path=str(path))
    for _ in range(2):
        assert questions(source.rubrics([Prompt("1", "p"), Prompt("2", "q")], ORACLE)) == [["x"], None]
    assert source.counts.without == 1


def test_two_rubrics_for_one_prompt_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text("prompt: p\ncriteria: [{name: n, question: x}]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.yaml: a rubric for the prompt 'p' is already in .*a\.yaml"):
        FromFile(path=str(tmp_path))


def test_no_file_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fixed_five_edits, fixed_five_pictures, fixed_five_shapes"):
        FromFile(path=str(tmp_path))


def test_fixed_five_of_the_shapes_are_what_the_judge_was_taught() -> None:
    [rubric] = FromFile(path="fixed_five_shapes").rubrics([Prompt("1", "p")], ORACLE)
    assert rubric is not None
    taught = {name: text for name, text in GENERAL.items() if name != "overall"}
    assert {c.name: c.question for c in rubric.criteria} == taught


def test_edits_can_have_rubrics_of_their_own() -> None:
    edit = Prompt("2", "make it red", source=PIL.Image.new("RGB", (8, 8)))
    both = [Prompt("1", "p"), edit]
    picture, own = FromFile(path="fixed_five_pictures", edit_path="fixed_five_edits").rubrics(both, ORACLE)
    assert picture is not None
    assert own is not None
    assert [{c.theme for c in r.criteria} & {"Preservation"} for r in (picture, own)] == [set(), {"Preservation"}]
    assert FromFile(path="fixed_five_pictures").rubrics(both, ORACLE) == [picture, picture]
    with pytest.raises(UserError, match=r"rubric.edit_path=nowhere: no rubric there"):
        FromFile(path="fixed_five_pictures", edit_path="nowhere")


@pytest.mark.parametrize("name", ["fixed_five_pictures", "fixed_five_edits"])
def test_fixed_five_of_real_pictures(name: str) -> None:
    [rubric] = FromFile(path=name).rubrics([Prompt("1", "p")], ORACLE)
    assert rubric is not None
    assert len(rubric.criteria) == 5
    assert all(c.theme and c.question.endswith("?") for c in rubric.criteria)


# -- configurations -------------------------------------------------------------------------------------------------------

KINDS = {
    "per_prompt": PerPrompt,
    "per_prompt_refined": PerPromptRefined,
    "global": Global,
    "fixed_five": FromFile,
    "shuffled": Shuffled,
    "dropout": Dropout,
}


@pytest.mark.parametrize("name", KINDS)
def test_every_source_is_a_configuration(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # stores are relative
    config = configure(["experiment=t2i_rpo", f"rubric={name}"]).rubric
    if name == "global":
        config.writing_pairs, config.heldout_pairs = 6, 8
    source = instantiate(config)
    assert type(source) is KINDS[name]
    rubrics = source.rubrics(HELDOUT[:2], ORACLE)
    assert all(isinstance(rubric, Rubric) for rubric in rubrics)
    assert (source.cost.calls == 0) == (name == "fixed_five")
    assert source.counts.without == 0


def test_sources_wrap_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["experiment=t2i_rpo", "rubric=dropout", "rubric@rubric.source=per_prompt_refined", "rubric.p=1.0"]
    [rubric] = instantiate(configure(overrides).rubric).rubrics(HELDOUT[-1:], ORACLE)
    assert len(rubric.criteria) == 1
    assert rubric.provenance["dropout"] == "1.0"
    assert "heldout_accuracy" in rubric.provenance


def test_none_and_files(tmp_path: Path) -> None:
    assert configure(["experiment=t2i_rpo", "rubric=none", "reward=pairwise"]).rubric is None
    path = tmp_path / "a.yaml"
    path.write_text(to_yaml(rubric_of("x?")), encoding="utf-8")
    source = instantiate(configure(["experiment=t2i_rpo", "rubric=from_file", f"rubric.path={path}"]).rubric)
    assert questions(source.rubrics(HELDOUT[:1], ORACLE)) == [["x?"]]


def test_the_released_rule_lets_leaks_through() -> None:
    for name in ("global", "per_prompt_refined"):
        config = configure(["experiment=t2i_rpo", f"rubric={name}", "rubric/settings=released"]).rubric
        assert instantiate(config.settings.rule) == Rule(both_orders=False, min_heldout=0.0)
