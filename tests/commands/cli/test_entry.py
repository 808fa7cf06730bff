"""What the command line says of a command, and of what is misspelt: one sentence with the nearest name."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from arr_rpo.commands import __main__ as verbs
from arr_rpo.commands.cli import entry
from arr_rpo.commands.cli.help_text import help_text

ROOT = Path(__file__).parents[3]


def called(command: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["arr-rpo", command, *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # as `entry` sets it, so that it is taken back
    verbs.main()


@pytest.mark.parametrize("command", verbs.VERBS)
def test_help_has_what_it_does_and_the_first_overrides_which_exist(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called(command, "--help", monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    assert f"{command}" in said.split("\n\n")[0]
    first = re.findall(r"([\w/.]+)=", said.split("First:")[1].split("\n\n")[0])
    assert len(first) >= 3
    groups = {path.name for path in (ROOT / "configs").iterdir() if path.is_dir()}
    for key in (re.split(r"[/.]", key)[0] for key in first):
        assert key in groups or re.search(rf"^  {key}:", said, re.M), key
    for page in re.findall(r"docs/\w+\.md", said):
        assert (ROOT / page).is_file(), page


def test_help_lists_the_groups_of_a_task_and_what_settings_are_for() -> None:
    said = help_text("", {"a": "b"}, "evaluate", entry.CONFIGS, ["task=judge"])
    assert re.search(r"^  judge +.*oracle, .*shapes.*  \[shapes\]$", said, re.M)
    assert "  batch_size: 64 # pairs" in said
    assert not re.search("^  hydra:", said, re.M)


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("train", ["algorithm=rpo", "algorithm.clip_rnge=1"], "did you mean algorithm.objective.clip_range?"),
        ("train", ["policy.call.hieght=3"], "no key policy.call.hieght; did you mean policy.call.height?"),
        ("train", ["judge=shaeps"], "judge=shaeps: there is no such option; did you mean shapes?"),
        ("train", ["judgge=shapes"], "there is no key judgge; did you mean judge?"),
        ("train", ["reward/pairng=swiss"], "there is no group reward/pairng; did you mean reward/pairing?"),
        ("train", ["run_dir=a=b"], "run_dir=a=b: the value cannot be read; quote it for Hydra, \"run_dir='a=b'\""),
        ("train", ["seed=1,2"], "seed=1,2: several values are a sweep, with -m; one list of them is seed=[1,2]"),
        ("train", ["zzzz=1"], "there is no key zzzz (--cfg job shows all"),
        ("plan", [], "policy is not given: choose policy=... of aura_flow, "),
        ("export", ["rnu=x"], "there is no key rnu; did you mean run?"),
        ("repot", ["study=x"], "repot: there is no such verb; did you mean report?"),
        ("report", ["stduy=x"], "there is no key stduy; did you mean study?"),
    ],
)  # fmt: skip
def test_what_is_misspelt_is_one_sentence(
    command: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as stopped:
        called(command, *arguments, monkeypatch=monkeypatch)
    assert stopped.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert said in told
    assert told.count("\n") == 1


def test_without_a_verb_all_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["arr-rpo"])
    verbs.main()
    said = capsys.readouterr().out
    assert re.findall(r"^  (\w+) ", said, re.M) == list(verbs.VERBS)
    for verb in verbs.VERBS:
        assert importlib.util.find_spec(f"arr_rpo.commands.{verb}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("arr-rpo re", ["report", "refine"]),
        ("arr-rpo ", list(verbs.VERBS)),
        ("arr-rpo plan polic", ["policy"]),
        ("arr-rpo train judge=sh", ["judge=shapes"]),
        ("arr-rpo nothing ", []),
    ],
)
def test_a_shell_completes_verbs_and_what_stands_behind_them(
    line: str, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["arr-rpo", "-sc", "query=bash"])
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    verbs.main()
    said = capsys.readouterr().out.split()
    assert set(words) <= set(said) and bool(words) == bool(said)
