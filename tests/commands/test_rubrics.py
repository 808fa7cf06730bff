"""`python rubrics.py`, with the oracle as judge and writer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands import rubrics as command
from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.data.prompts import read_prompts
from arr_rpo.judge.base import Judge
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.files import to_yaml
from arr_rpo.rubric.sources import FromFile
from arr_rpo.shapes.oracles.judge import OracleJudge
from arr_rpo.shapes.world.questions import questions_of
from arr_rpo.types import Cost, Criterion, Prompt, Rubric, UserError
from tests.conftest import configure


def config_of(overrides: Sequence[str]) -> DictConfig:
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose("rubrics", overrides=["judge=oracle", *overrides])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the store is relative


def table(text: str) -> dict[str, str]:
    cells = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in text.splitlines() if line.startswith("│")]
    return {row[0]: row[1] for row in cells}


def test_it_writes_verifies_stores_and_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["limit=5", "batch_size=2", "show=1", "export=out", "json=figures.json"]
    found = command.rubrics(config_of(arguments))
    prompts = read_prompts("shapes/heldout")[:5]
    for prompt, rubric in zip(prompts, found, strict=True):
        assert rubric is not None
        assert rubric.provenance["prompt"] == prompt.text
        assert {c.question for c in rubric.criteria} <= {str(q) for q in questions_of(prompt.metadata)}
    said = capsys.readouterr().out
    assert [line.split(",")[0] for line in said.splitlines() if " of 5 prompts" in line] == [
        f"{n} of 5 prompts" for n in (2, 4, 5)
    ]
    assert f"\n{prompts[0].text}\n" in said
    assert f"\n{prompts[1].text}\n" not in said
    assert table(said)["drafts asked for"] == "10"
    assert table(said)["rubrics"] == "4"  # of one prompt both drafts miss held-out pairs; it has the rubric of its prompt alone
    figures = json.loads(Path("figures.json").read_text(encoding="utf-8"))
    assert figures["drafts"] == sum(figures["verified"]) + figures["discarded"] == 10
    names = sorted(path.name for path in Path("out").iterdir())
    assert names == sorted(p.text.replace(" ", "_") + ".yaml" for p in prompts)
    assert FromFile(path="out").rubrics(prompts, OracleJudge()) == found
    assert not [path for path in tmp_path.iterdir() if path.name not in {"out", "runs", "figures.json"}]


def test_a_stopped_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    first = command.rubrics(config_of(["limit=3"]))
    capsys.readouterr()
    assert command.rubrics(config_of(["limit=5"]))[:3] == first
    assert table(capsys.readouterr().out)["drafts asked for"] == "4"


def test_what_was_edited_is_not_written_over() -> None:
    command.rubrics(config_of(["limit=1", "export=out"]))
    command.rubrics(config_of(["limit=1", "export=out"]))  # the same again is no loss
    [path] = Path("out").iterdir()
    path.write_text(path.read_text(encoding="utf-8").replace("total?", "all?"), encoding="utf-8")
    with pytest.raises(UserError, match=r"holds another rubric, perhaps one that you edited"):
        command.rubrics(config_of(["limit=1", "export=out"]))


def test_the_same_criteria_for_another_source_are_another_rubric(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "make it blue" of several pictures: a judge may write the same for each, and each is looked up by its source. Pictures
    are opened a batch at a time."""
    opened: list[int] = []

    class Same:
        counts, failures, cost = Counts(), 0, Cost()

        def rubrics(self, prompts: Sequence[Prompt], judge: Judge) -> list[Rubric | None]:
            opened.append(len(prompts))
            criteria = (Criterion("edit", "is it blue?"),)
            return [Rubric(criteria, {"prompt": "make it blue", **{"source": p.id}}) for p in prompts]

    monkeypatch.setattr(command, "instantiate", lambda _: Same())
    command.rubrics(config_of(["limit=5", "batch_size=2", "export=out"]))
    assert len(list(Path("out").iterdir())) == 5
    assert opened == [2, 2, 1]


def test_one_for_all_prompts_is_one_file() -> None:
    command.rubrics(config_of(["rubric=fixed_five", "limit=2", "export=out"]))
    assert [path.name for path in Path("out").iterdir()] == ["every_prompt.yaml"]


def test_names_of_files_never_meet() -> None:
    texts = ["a red star", "A red star", "a red  star", "x" * 300, "x" * 301, "../etc", "两只猫", ""]
    rubrics = [Rubric((Criterion("n", f"{i}?"),), {"prompt": text}) for i, text in enumerate(texts[:-1])]
    rubrics.append(Rubric((Criterion("n", "8?"),), {"prompt": "a red star", "source": "abc"}))
    command.export(rubrics, Path("out"))
    files = list(Path("out").iterdir())
    assert len(files) == len(rubrics)
    assert {path.read_text(encoding="utf-8") for path in files} == {to_yaml(rubric) for rubric in rubrics}
    assert all(len(path.name) < 100 for path in files)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["prompts=nowhere.txt"], "nowhere.txt"),
        (["rubric=none"], "rubric=none writes none"),
        (["rubric=from_file", "rubric.path=nowhere"], "rubric.path=nowhere"),
        (["rubric.settings.max_criteria=99"], "max_criteria=99"),
        (["rubric.settings.rule.most=1"], "rubric.settings.rule"),
    ],
)
def test_what_the_user_can_mend_is_one_message(overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of([f"+{o}" if "most" in o else o for o in overrides])
    with pytest.raises(SystemExit) as stopped:
        plain_errors(command.rubrics)(config)
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["per_prompt", "per_prompt_refined", "global", "fixed_five", "shuffled", "dropout"])
def test_the_command_and_a_training_have_one_rubric_group(name: str) -> None:
    mine = OmegaConf.to_container(config_of([f"rubric={name}"]).rubric)
    assert mine == OmegaConf.to_container(configure(["experiment=t2i_rpo", f"rubric={name}"]).rubric)
