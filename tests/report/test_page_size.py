"""A study of a hundred runs, from folders to page: in time, and small enough to send."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arr_rpo.commands.report import report
from tests.report import made

ARMS, SEEDS, UPDATES, PROMPTS = 20, 5, 80, 514
TAGS = [
    "reward/mean",
    "judge/flip_rate",
    "judge/tie_rate",
    "criterion/mean",
    *(f"criterion/kind{i}" for i in range(12)),
    "loss",
]


def noise(path: Path, generator: np.random.Generator) -> None:
    """What compresses worst."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path, compress_level=0)


def write_run(folder: Path, arm: int, seed: int, generator: np.random.Generator) -> None:
    run = made.made_run(folder, f"arm{arm}", arm % 7, seed, UPDATES)
    place = folder / f"arm=arm{arm},seed={seed}"
    shutil.move(run.folder, place)
    study = {"name": "hundred", "question": "How large?", "arm": f"arm{arm}", "reference": "arm0"}
    config = {**run.config, "name": "t2i_rpo", "study": study, **{f"key{i}": {"depth": {"value": i}} for i in range(200)}}
    (place / "config.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    made.write(place / "summary.json", {**run.summary, "measures": run.measures, "seed": seed})
    made.write(place / "versions.json", dict(run.versions))
    rows = []
    for i in range(PROMPTS):
        score = {"shapes": {"value": float(generator.random() < 0.5), "figures": {"criteria": 0.5, "position": 0.5}}}
        row = {
            "prompt_id": f"h/{i}",
            "split": "heldout",
            "tag": "position",
            "prompt": f"a photo of {i} circles",
            "pictures": {},
        }
        if i % 43 == 0:
            row["pictures"] = {name: f"heldout_pictures/{i}_{name}.png" for name in ("base", "trained")}
            for name in row["pictures"].values():
                noise(place / name, generator)
        rows.append(json.dumps({**row, "before": score, "after": score}))
    (place / "heldout.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    by_prompt = {f"h/{i}": 1.0 for i in range(0, PROMPTS, 5)}
    measures = {"shapes": {"value": 0.5, "figures": {"criteria": 0.5}, "by_prompt": by_prompt}}
    points = [{**vars(p), "measures": measures} for p in run.progress]
    (place / "progress.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points), encoding="utf-8")
    (place / "verdicts.jsonl").write_text(json.dumps({"update": 0, "prompt": "p" * 600}) + "\n", encoding="utf-8")
    for path in (place / "verdict_pictures").glob("*.png"):
        noise(path, generator)
    metrics = ({"update": update, **dict.fromkeys(TAGS, update / UPDATES)} for update in range(UPDATES))
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics), encoding="utf-8")


@pytest.mark.slow
def test_a_hundred_runs_make_a_page_that_can_be_sent(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    folder = tmp_path / "study"
    for arm in range(ARMS):
        for seed in range(1, SEEDS + 1):
            write_run(folder, arm, seed, generator)
    started = time.process_time()  # of this process alone: other work on the machine does not count
    page = report(made.report_config(f"study={folder}", f"output={tmp_path / 'out'}"))
    seconds = time.process_time() - started
    assert page.stat().st_size < 15e6
    assert seconds < 30
    text = page.read_text(encoding="utf-8")
    assert "20 arms, 100 runs (100 finished)" in text
    assert "arm19 &gt; arm0" in text
    assert text.count('"relation":') == 600
