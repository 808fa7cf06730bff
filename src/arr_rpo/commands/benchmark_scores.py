"""`python evaluate.py task=benchmark benchmark=<name> prompts=... questions=... output=<pictures>`: a judge's answers to the
questions that come with a benchmark."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from arr_rpo.benchmark import manifest
from arr_rpo.benchmark.scoring import ROWS, figures, score
from arr_rpo.commands.generate import Benchmark
from arr_rpo.commands.quiet import quieten
from arr_rpo.commands.run_folder import SERVING
from arr_rpo.run.lock import occupied
from arr_rpo.types import UserError
from arr_rpo.whole_files import write_json

SETTING = "setting.json"


def benchmark_scores(config: DictConfig) -> dict[str, Any]:
    """Asks what is not answered yet, prints the figures, and writes them to `scores.json` in `run_dir`.

    Raises:
        UserError: the benchmark has no questions, a picture is missing, or `run_dir` holds answers of something else.
    """
    if config.benchmark.questions is None:
        raise UserError(
            f"benchmark={config.benchmark.name} comes with no questions that a judge could answer: draw with generate.py, and "
            "take its official scorer (docs/benchmarks.md)"
        )
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    benchmark, questions = Benchmark.of(config), instantiate(config.benchmark.questions, _convert_="all")
    quieten()
    judge, resampling = instantiate(config.judge), instantiate(config.resampling)
    folder = Path(config.run_dir)
    with occupied(folder), Progress(disable=not config.progress) as progress:
        said = {**_setting(config), "judge_name": judge.name, "judge_revision": judge.revision}
        _refuse_another(folder, said)
        bar = progress.add_task("files", total=len(benchmark.files))
        scored = score(
            judge,
            benchmark.layout,
            benchmark.files,
            questions,
            Path(config.output),
            folder / ROWS,
            config.batch_size,
            lambda files: progress.advance(bar, files),
        )
        result = {**said, "official": False, "resampling": asdict(resampling), **figures(scored, resampling)}
        write_json(folder / "scores.json", result)
    _show(config.benchmark.name, result)
    print(f"answers and figures: {folder}")
    return result


def _setting(config: DictConfig) -> dict[str, Any]:
    """What is scored, and by whom."""
    drawn = manifest.read(Path(config.output)) or {}
    judge = OmegaConf.to_container(config.judge, resolve=True)
    assert isinstance(judge, dict)
    if model := judge.get("model"):
        judge["model"] = {key: value for key, value in model.items() if key not in SERVING}
    return {
        "benchmark": config.benchmark.name,
        "prompts": manifest.digest_of(config.prompts),
        "questions": manifest.digest_of(config.questions),
        "pictures": {key: value for key, value in drawn.items() if key not in manifest.TOLD},
        "judge": judge,
    }


def _refuse_another(folder: Path, setting: dict[str, Any]) -> None:
    path, said = folder / SETTING, json.loads(json.dumps(setting))
    if path.is_file() and (there := json.loads(path.read_text(encoding="utf-8"))) != said:
        other = [key for key in {**there, **said} if there.get(key) != said.get(key)]
        raise UserError(f"run_dir={folder} has answers of another {' and '.join(other)}: give another run_dir")
    write_json(path, said)


def _show(name: str, result: dict[str, Any]) -> None:
    table = Table(title=f"{name} by {result['judge_name']}: not the official scorer, not to be compared with its figures")
    for column in ("", "share", "interval", "of"):
        table.add_column(column, justify="left" if not column else "right")
    for row, figure in {"mean over pictures": result["overall"], **result["by_category"]}.items():
        value, low, high = (figure[key] for key in ("value", "low", "high"))
        interval = "-" if low is None else f"{low:.3f} to {high:.3f}"
        table.add_row(row, "-" if value is None else f"{value:.3f}", interval, str(figure["of"]))
    Console().print(table)
    counts = ("prompts", "pictures", "questions", "unanswered", "calls", "tokens")
    print(", ".join(f"{count} {result[count]:,}" for count in counts))
    for reason in result["reasons"]:
        print(f"unanswered: {reason}")
