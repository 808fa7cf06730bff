"""The documentation: its links lead somewhere, its commands compose, and its own judge trains."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from arr_rpo.commands.__main__ import VERBS
from arr_rpo.commands.runs.training import train
from arr_rpo.run.folder import RunFolder
from tests.integration.small import SMALL

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
READ = [*PAGES, *sorted((ROOT / "experiments").glob("*/README.md"))]


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match("https?:|mailto:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), link


def test_every_page_is_on_the_site() -> None:
    def pages(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        return [page for one in (part.values() if isinstance(part, dict) else part) for page in pages(one)]  # type: ignore[attr-defined]

    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(pages(config["nav"])) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_picture_of_the_packages_is_that_of_the_code(tmp_path: Path) -> None:
    """Else: python docs/pictures/packages.py"""
    drawn = tmp_path / "packages.svg"
    subprocess.run([sys.executable, str(ROOT / "docs/pictures/packages.py"), str(drawn)], check=True, timeout=300)
    assert drawn.read_text(encoding="utf-8") == (ROOT / "docs/pictures/packages.svg").read_text(encoding="utf-8")


def commands() -> list[tuple[str, str]]:
    """Page and line of each command that stands there whole: without "...", without what the shell fills in, and of one run."""
    beyond = re.compile(r"\.\.\.|[<$]|--|%| -m|^-m|study=|hparams_search=|\\$|range\(")
    found = []
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            command = re.match(r"    (?:PYTHONPATH=\S+ )?(?:python (?=\w+\.py)|arr-rpo )(\w+)(?:\.py)? (.*)", line)
            overrides = command[2].partition(" #")[0] if command else ""
            if command and command[1] in VERBS and command[1] != "report" and not beyond.search(overrides):
                found.append((page.name, f"{command[1]} {overrides}"))
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_compose(page: str, line: str) -> None:
    command, *overrides = shlex.split(line)
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose(command, overrides=overrides)
    assert list(left_out(OmegaConf.to_container(config, resolve=False))) == []


def left_out(node: object, path: str = "") -> Iterator[str]:
    """Keys that the user has to give, and the command does not."""
    if node == "???":
        yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from left_out(value, f"{path}.{key}")


def test_some_commands_were_found() -> None:
    assert len(commands()) > 30
    assert {"train", "plan", "evaluate"} <= {line.split()[0] for _, line in commands()}


def test_every_verb_is_told_and_every_script_is_a_verb() -> None:
    told = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", told, re.M) == list(VERBS)
    assert {path.stem for path in ROOT.glob("*.py")} - {"setup"} <= set(VERBS)


def test_the_judge_of_your_own_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of docs/your_own.md, as they stand there."""
    text = (ROOT / "docs" / "your_own.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"`(mine/[\w/.]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    heldout = tmp_path / "heldout.jsonl"
    lines = (ROOT / "src/arr_rpo/shapes/data/heldout.jsonl").read_text(encoding="utf-8").splitlines()
    heldout.write_text("\n".join(lines[:4]), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    own = [f"hydra.searchpath=[file://{tmp_path}/mine]", "judge=redness", "reward=scalar", "rubric=none", "name=test"]
    small = [option for option in SMALL if not option.startswith(("judge", "reward"))]
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        config = compose("train", overrides=[*small, *own, f"run_dir={tmp_path}/run", f"data.heldout={heldout}"])
    train(config)
    run = RunFolder(tmp_path / "run")
    rewards = [json.loads(line)["reward/mean"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert run.finished()
    assert len(set(rewards)) == len(rewards)
    assert all(0 < reward < 1 for reward in rewards)  # a grade of 1 to 5, as a share
    sys.modules.pop("redness")
