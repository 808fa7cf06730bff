"""Runs whose rewards are numbers of scorers, alone and beside a judge's verdicts."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from arr_rpo.run.folder import RunFolder
from examples.score_server import Handler
from tests.integration.small import start
from tests.scorer.test_clip import folder as clip_folder  # noqa: F401

pytestmark = pytest.mark.slow
ALONE = ("judge=none", "rubric=none", "algorithm=grpo", "algorithm.group_size=4", "data.updates=2")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()


def learned(run: RunFolder) -> list[dict[str, Any]]:
    """Its verdicts, once it is seen to have finished and to have made steps."""
    assert run.finished()
    metrics = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(row["policy/optimizer_steps"] for row in metrics) > 0
    return [json.loads(line) for line in (run.path / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_function(tmp_path: Path) -> None:
    rows = learned(start(tmp_path / "run", *ALONE, "reward=score", "reward.score=tests.scorer.functions.brightness"))
    assert {row["kind"] for row in rows} == {"grade"}
    assert all(0 < row["value"] < 1 for row in rows)
    assert len({row["value"] for row in rows}) > 4


def test_a_server(tmp_path: Path, server: str) -> None:
    rows = learned(start(tmp_path / "run", *ALONE, "reward=http", f"reward.score.url={server}"))
    assert all(0 < row["value"] < 1 for row in rows)


def test_a_clip(tmp_path: Path, clip_folder: Path) -> None:  # noqa: F811
    chosen = (f"reward.score.checkpoint={clip_folder}", "reward.score.clamp=false")
    assert len(learned(start(tmp_path / "run", *ALONE, "reward=clip", *chosen))) == 16


@pytest.mark.skipif(importlib.util.find_spec("rapidocr_onnxruntime") is None, reason="pip install -e '.[ocr]'")
def test_text_in_pictures(tmp_path: Path) -> None:
    """The embedded policy cannot write: each candidate gets the same, and nothing is learned; what is read is in the rows."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f'a sign that says "{word}"'}) + "\n" for word in ("a", "b", "c")))
    run = start(tmp_path / "run", *ALONE, "reward=ocr", f"data.train={prompts}")
    assert run.finished()
    assert "read: " in (run.path / "verdicts.jsonl").read_text(encoding="utf-8")


def test_a_judge_and_a_function(tmp_path: Path) -> None:
    run = start(
        tmp_path / "run",
        *("judge=oracle", "rubric=per_prompt", f"rubric.store={tmp_path}/rubrics", "reward=rubric_and_score", "data.updates=2"),
        "reward.parts.score.reward.score=tests.scorer.functions.brightness",
    )
    rows = learned(run)
    assert {(row["part"], row["kind"]) for row in rows} == {("rubric", "verdict"), ("score", "grade")}
    metrics = json.loads((run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert {"reward/mean/rubric", "reward/mean/score", "reward/valid/score"} <= metrics.keys()
