"""Planted secrets are found nowhere: neither where a run is refused for them, nor where they stand where they belong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.cli.secrets import found
from tests.integration.small import SMALL
from tests.judge.server.serving.wire import Response, completion, error, serving

ROOT = Path(__file__).parents[3]
SECRET = "planted-horse-battery-4711"
SERVER = ["experiment=t2i_rpo", "judge=server", "judge.model.model=m"]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "configs/experiment").glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    """With the part of Hydra, as a callback is given it."""
    with initialize_config_module("arr_rpo.configs", version_base="1.3"):
        return compose("train", overrides=list(overrides), return_hydra_config=True)


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    monkeypatch.setenv("HEADER_KEY", f"{SECRET}-2")
    monkeypatch.setenv("PLAIN_THING", "harmless-text")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_nothing_in_our_own_configs_looks_like_one(experiment: str) -> None:
    assert list(found(composed(f"experiment={experiment}"))) == []


def test_names_of_variables_are_no_secrets() -> None:
    overrides = [*SERVER, "judge.model.api_key_env=JUDGE_KEY", "judge.model.headers={x-api-key: HEADER_KEY}"]
    assert list(found(composed(*overrides, "data.train=${oc.env:PLAIN_THING}"))) == []


PLANTED = {
    "userinfo": f"judge.model.base_url=http://me:{SECRET}@127.0.0.1:1/v1",
    "query": f"judge.model.base_url='http://127.0.0.1:1/v1?api-key={SECRET}'",
    "parameters": f"+judge.model.parameters.api_key={SECRET}",
    "value": f"+judge.model.parameters.user=x{SECRET}",
    "env": "judge.model.base_url='http://127.0.0.1:1/${oc.env:JUDGE_KEY}'",
    "env_of_any_name": "judge.model.base_url='http://127.0.0.1:1/${oc.env:PLAIN_THING}'",
    "for_a_name": "judge.model.api_key_env=8f14e45fceea167a5a36dedd4bea2543",
    "header": "judge.model.headers={x-api-key: 8f14e45fceea167a5a36dedd4bea2543}",
    "hydra": f"+hydra.job.env_set.MY_TOKEN={SECRET}",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_one_is_found(kind: str) -> None:
    assert [key for key, _ in found(composed(*SERVER, PLANTED[kind]))]


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [False, True])
@pytest.mark.parametrize("kind", PLANTED)
def test_a_refused_run_leaves_nothing(tmp_path: Path, kind: str, sweep: bool) -> None:
    value = PLANTED[kind] + (",x" if sweep and kind in ("userinfo", "for_a_name") else "")  # also where it is swept over
    done = started(tmp_path, "train.py", *(["-m"] if sweep else []), *SERVER, value)
    assert done.returncode == 1
    assert "looks like a secret" in done.stderr
    assert list(tmp_path.rglob("*")) == []
    for text in (SECRET, "8f14e45f"):
        assert text not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_run_keeps_them_to_itself(tmp_path: Path) -> None:
    """A server that repeats the key and the header in replies and errors: run folder, cache, recording, log and report."""
    both = f"{SECRET} and {SECRET}-2"

    def answer(number: int, path: str, body: object) -> Response:
        return error(500, both) if number % 7 == 3 else completion("A") if number % 2 else completion(both)

    with serving(answer) as (url, seen):
        done = started(
            tmp_path, "train.py", *SMALL, "judge=server", "judge.model.model=m", "judge.model.revision=r", "data.updates=2",
            f"judge.model.base_url={url}", "judge.model.api_key_env=JUDGE_KEY", "judge.model.headers={x-api-key: HEADER_KEY}",
            f"judge.model.cache_dir={tmp_path}/cache", f"judge.model.record_dir={tmp_path}/record", "hydra.run.dir=run",
            "judge.model.first_wait=0.01", "callbacks.rubric_reward.max_failure_rate=1.0", "data.heldout=shapes/unseen",
            "callbacks.verdict_pictures.every_n_updates=1", "hydra.verbose=true",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {h.get("authorization") for h in seen.headers} == {f"Bearer {SECRET}"}
    assert {h.get("x-api-key") for h in seen.headers} == {f"{SECRET}-2"}
    reported = started(tmp_path, "report.py", "study=run")
    assert reported.returncode == 0
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    names = {path.name for path in written}
    assert {"config.yaml", "versions.json", "verdicts.jsonl", "traffic.jsonl", "report.html", "train.log"} <= names
    assert any(path.parts[0] == "cache" for path in written)
    assert b"[API key]" in written[Path("record/traffic.jsonl")]
    assert [str(path) for path, content in written.items() if SECRET.encode() in content] == []
    assert SECRET not in done.stdout + done.stderr + reported.stdout + reported.stderr
    assert "JUDGE_KEY" in OmegaConf.to_yaml(OmegaConf.load(tmp_path / "run/config.yaml"))


def started(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / program), *arguments],
        cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
