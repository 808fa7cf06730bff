"""The judge bench through a real server and in process: the same rubrics, the same verdicts, the same figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate

from arr_rpo.judge.local.loading import EMBEDDED
from arr_rpo.judge.vlm import VLMJudge
from tests.conftest import configure
from tests.judge.server.serving.models import make_judge, make_model


def bench(folder: Path, judge: VLMJudge, reward: str) -> list[dict[str, Any]]:
    overrides = ["task=judge", f"reward={reward}", f"run_dir={folder}", f"rubric.store={folder}/rubrics"]
    config = configure([*overrides, "bench.limit=16", "bench.progress=false"], "evaluate")
    del config.bench.judge
    instantiate(config.bench, judge=judge).run({"reward": reward})
    return [json.loads(line) for line in (folder / "judged_pairs.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("reward", ["rubric", "checklist", "rational"])
def test_the_bench_says_the_same_of_a_judge_here_and_there(real: str, reward: str, tmp_path: Path) -> None:
    local = instantiate(configure(["experiment=t2i_rpo", "judge.model.answers=generated"]).judge.model)
    near = bench(tmp_path / "near", make_judge(local), reward)
    far = bench(tmp_path / "far", make_judge(make_model(real, model=str(EMBEDDED["shapes"]), concurrency=8)), reward)
    assert len(near) == 16
    assert not any(row["outcome"] == "failed" for row in near)
    for here, there in zip(near, far, strict=True):
        assert [here[key] for key in ("id", "outcome", "p_a", "checks")] == [
            there[key] for key in ("id", "outcome", "p_a", "checks")
        ]
