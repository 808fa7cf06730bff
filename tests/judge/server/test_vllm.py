"""A real vLLM serves the embedded judge: it says what the model in process says, in each way of answering.

A set of its own (`-m servers`), as it starts servers that take gigabytes and both cores.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import load_file

from arr_rpo.commands.probe import probe
from arr_rpo.data.prompts import read_prompts
from arr_rpo.judge.reasons import OF_THE_SERVER
from arr_rpo.judge.rubric_reply import parse_rubric
from arr_rpo.judge.vlm import VLMJudge
from arr_rpo.types import UserError
from tests.conftest import configure
from tests.integration.small import start
from tests.judge.server.serving.vllm import PYTHON, vllm_on
from tests.judge.server.serving.wire import free_port

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.is_file(), reason=f"no vLLM in {PYTHON.parents[1]}"),
]
PROTOCOLS = ("scalar", "pairwise", "checklist", "criteria", "rubric", "delta_rubric", "rational", "fixed_five")
PAIRS = 8


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with vllm_on(free_port(), tmp_path_factory.mktemp("vllm") / "log") as url:
        yield url


def remote(url: str, *changes: str) -> VLMJudge:
    overrides = ["judge=vllm_shapes", f"judge.model.base_url={url}", "judge.model.cache_dir=null", *changes]
    judge: VLMJudge = instantiate(configure(["experiment=t2i_rpo", *overrides]).judge)
    return judge


def local(answers: str) -> VLMJudge:
    judge: VLMJudge = instantiate(configure(["experiment=t2i_rpo", f"judge.model.answers={answers}"]).judge)
    return judge


def judged(judge: VLMJudge, reward: str, folder: Path) -> list[dict[str, Any]]:
    overrides = ["task=judge", f"reward={reward}", f"run_dir={folder}", f"rubric.store={folder}/rubrics"]
    config = configure([*overrides, f"bench.limit={PAIRS}", "bench.progress=false"], "evaluate")
    del config.bench.judge
    instantiate(config.bench, judge=judge).run({"reward": reward})
    return [json.loads(line) for line in (folder / "judged_pairs.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("reward", PROTOCOLS)
def test_probabilities(vllm: str, reward: str, tmp_path: Path) -> None:
    """By log-probabilities, every verdict of every protocol, in no more requests than in process."""
    there = judged(remote(vllm), reward, tmp_path / "there")
    here = judged(local("tokens"), reward, tmp_path / "here")
    assert len(here) == PAIRS
    for far, near in zip(there, here, strict=True):
        assert far["outcome"] == near["outcome"] != "failed"
        assert far["p_a"] == pytest.approx(near["p_a"], abs=5e-5)
        for check, other in zip(far["checks"], near["checks"], strict=True):
            assert (check["a"], check["b"]) == pytest.approx((other["a"], other["b"]), abs=1e-4)
        assert far["calls"] == near["calls"]


@pytest.mark.parametrize("answers", ["schema", "generated"])
@pytest.mark.parametrize("reward", PROTOCOLS)
def test_texts(vllm: str, reward: str, answers: str, tmp_path: Path) -> None:
    """Held to a schema or not, the text of a form is the one that the model in process writes."""
    there = judged(remote(vllm, f"judge.model.answers={answers}"), reward, tmp_path / "there")
    here = judged(local("generated"), reward, tmp_path / "here")
    for far, near in zip(there, here, strict=True):
        assert [far[key] for key in ("outcome", "p_a", "checks")] == [near[key] for key in ("outcome", "p_a", "checks")]


@pytest.mark.parametrize("answers", ["schema", "generated"])
def test_rubrics(vllm: str, answers: str) -> None:
    prompts = read_prompts("shapes/heldout")[:32]
    there, _ = remote(vllm, f"judge.model.answers={answers}").writer.write(prompts)
    here, _ = local("tokens").writer.write(prompts)
    assert [parse_rubric(str(text), {}) for text in there] == [parse_rubric(str(text), {}) for text in here]


def test_a_probe(vllm: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The embedded judge knows no plain English, so nothing is right; each way of answering is possible all the same."""
    config = configure([f"judge.model.base_url={vllm}", "judge.model.model=judge", "at_once=[2]", "least=2"], "probe")
    with pytest.raises(UserError, match="none of the ways"):
        probe(config)
    printed = capsys.readouterr().out
    assert "log-probabilities" not in printed.split("no_choice:")[0]
    [row] = [line for line in printed.splitlines() if "object" in line]
    assert row.count("yes/yes") == 2  # what a schema and log-probabilities make of a model that would not write an object


def test_a_training_goes_on_while_its_server_is_killed_and_started_again(tmp_path: Path) -> None:
    """And judges as a training with the model in process does, whose weights it comes to."""
    port, log, first_ended = free_port(), tmp_path / "log", threading.Event()
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    verdicts = tmp_path / "there" / "run" / "verdicts.jsonl"
    common = ["reward=rubric", f"rubric.store={tmp_path}/rubrics", "data.updates=6"]
    server = ["judge=vllm_shapes", f"judge.model.base_url=http://127.0.0.1:{port}/v1"]
    patience = ["judge.model.retries=30", "judge.model.first_wait=0.5", "judge.model.max_wait=5"]

    def serve() -> None:
        with vllm_on(port, log):
            up.set()
            while not (verdicts.is_file() and verdicts.read_text().count("\n") >= 8) and not done.is_set():
                time.sleep(0.05)
        first_ended.set()
        with vllm_on(port, log):
            done.wait(600)

    up, done = threading.Event(), threading.Event()
    server_thread = threading.Thread(target=serve)
    server_thread.start()
    try:
        assert up.wait(300)
        there = start(tmp_path / "there" / "run", *common, *server, *patience)
        assert first_ended.is_set()
    finally:
        done.set()
        server_thread.join()
    here = start(tmp_path / "here" / "run", *common, "judge=shapes")
    said = [json.loads((run.path / "summary.json").read_text())["judge"] for run in (there, here)]
    assert said[0]["calls"] == said[1]["calls"] > 0
    assert said[0]["failures"] == said[1]["failures"] == 0
    assert sum(said[0]["account"].get(reason, 0) for reason in OF_THE_SERVER) > 0  # somebody noticed
    assert said[0]["account"]["answered_by"].keys() == {"judge"}
    weights = [load_file(run.path / "policy" / "pytorch_lora_weights.safetensors") for run in (there, here)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
