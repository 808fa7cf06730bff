"""`arr-rpo evaluate run=<folder>`: measures a finished run's policy on its held-out prompts again, by its or other measures.
`arr-rpo evaluate task=judge ...`: measures a judge on labelled pairs.
`arr-rpo evaluate task=best_of_n ...`: how far a reward can be trusted before anything is trained.
`arr-rpo evaluate task=benchmark ...`: a judge's answers to the questions of a benchmark, on pictures of `arr-rpo generate`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL.Image import Image
from rich.console import Console
from rich.table import Table

from arr_rpo import ranks
from arr_rpo.benchmark import manifest
from arr_rpo.benchmark.scoring import score_folder
from arr_rpo.callbacks.heldout import Heldout
from arr_rpo.commands.cli.entry import entry
from arr_rpo.commands.cli.quiet import quieten
from arr_rpo.commands.generate import Benchmark
from arr_rpo.commands.runs.best_of_n import best_of_n
from arr_rpo.commands.runs.finished import finished_run, with_policy_of_run
from arr_rpo.commands.runs.foreign import allowed
from arr_rpo.commands.runs.processes import one_process
from arr_rpo.commands.runs.stage import SERVING
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.evaluation.images import pictures, seen
from arr_rpo.evaluation.judge_bench import BenchResult, markdown
from arr_rpo.measure.base import Measure, Own
from arr_rpo.measure.win_rate import WinRate
from arr_rpo.policy.pipeline import PipelinePolicy
from arr_rpo.run.layout import POLICY
from arr_rpo.types import UserError
from arr_rpo.whole_files import write_json

SETTING = ("judge", "rubric", "reward.protocol", "preferences")  # what a bench measures, beside its sample


@entry(
    "evaluate",
    {
        "run=runs/...": "the held-out pictures of a finished run, by its measures or measure=[...]",
        "task=judge judge=...": "how good a judge is on labelled pairs (docs/bench.md)",
        "task=best_of_n reward=...": "how far a reward can be trusted before anything is trained (docs/hacking.md)",
        "task=benchmark benchmark=dpg": "a judge's answers to a benchmark's questions (docs/benchmarks.md)",
    },
)
def main(config: DictConfig) -> None:
    """Prints what was measured, and writes it: `evaluation.json` in a policy's run folder, `bench.json`, `best_of_n.json` or
    `scores.json` in a folder of its own."""
    if config.task == "best_of_n":
        config = with_policy_of_run(config, list(HydraConfig.get().overrides.task))
    {"benchmark": benchmark, "best_of_n": best_of_n, "judge": bench}.get(config.task, evaluate)(config)


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Loads the run's weights as a user would (`load_lora_weights`, or the pipeline folder) and measures them, by the run's own
    measures or by those of the command.

    Raises:
        UserError: the folder is no run, or one that did not end; or nothing can be measured.
    """
    one_process("evaluate run=...")
    run = Path(config.run)
    trained = finished_run(run, allowed(config), keep_start=True)
    if not os.access(run, os.W_OK):
        raise UserError(f"run={run} cannot be written, and evaluation.json is written there: take a copy of the folder")
    callback = OmegaConf.select(trained, "callbacks.heldout")
    if callback is not None and config.measure:
        callback.measures = config.measure
    data, how = instantiate(trained.data), instantiate(callback)
    if not isinstance(data, PromptDataModule) or not isinstance(how, Heldout):
        raise UserError(f"run={run}: its config has no prompts, or no callbacks.heldout that says how they are measured")
    measures = _measures(how, data, run)
    _start(trained, run, measures)
    for measure in measures.values():
        measure.begin(_own(trained, measure))
    device = ranks.device("auto")
    ranks.on_device(device)
    policy = instantiate(trained.policy)
    policy.load_trained(run / POLICY)
    policy = policy.to(device)
    result: dict[str, Any] = {}
    with policy.drawing(how.drawing.get("num_inference_steps"), how.drawing.get("call") or {}):
        if isinstance(policy, PipelinePolicy):  # as they are asked for here
            policy.cache_prompts(itertools.chain(data.heldout, data.unseen))
        for split, prompts in (("heldout", data.heldout), ("unseen", data.unseen)):
            if not prompts:
                continue
            base: dict[str, Image] = {}
            if any(measure.against_base for measure in measures.values()):
                with policy.adapter.reference():
                    drawn = pictures(policy, prompts, how.seed, config.batch_size)
                base = dict(zip((prompt.id for prompt in prompts), drawn, strict=True))
            taken = seen(policy, prompts, measures, how.seed, config.batch_size, base=base.__getitem__).taken
            result[split] = {
                name: {"value": one.mean, "figures": one.figures, "missing": one.missing} for name, one in taken.items()
            }
            for name, one in taken.items():
                said = [f"{name} {value:.3f}" for name, value in {name: one.mean, **one.figures}.items() if value is not None]
                print(f"{split}: {', '.join(said)} ({len(prompts)} prompts)")
    write_json(run / "evaluation.json", result)
    return result


def _measures(how: Heldout, data: PromptDataModule, run: Path) -> dict[str, Measure]:
    """Those that have something to say of the prompts; of the others it is printed why not.

    Raises:
        UserError: none has.
    """
    found = dict(how.measures)
    for name, measure in how.measures.items():
        if why := measure.why_not(data.heldout) or measure.why_not(data.unseen):
            print(f"measure={name} is left out: {why}")
            del found[name]
    if not found:
        raise UserError(
            f"run={run}: there is nothing to measure by. measure=[...] names measures (docs/measures.md), and "
            f"{run}/heldout_pictures has pictures before and after training"
        )
    return found


def _start(trained: DictConfig, run: Path, measures: Mapping[str, Measure]) -> None:
    """Measures against the base need what the run started from, whose reference it is; others do not.

    Raises:
        UserError: they do, and it is not there any more.
    """
    start = OmegaConf.select(trained, "policy.adapter.start_from")
    if not start or Path(start).exists():
        return
    if asked := [name for name, measure in measures.items() if measure.against_base]:
        raise UserError(
            f"run={run} started from {start}, which is not there any more, and measure={', '.join(asked)} compares with it: "
            "bring it back, or measure by something else"
        )
    trained.policy.adapter.start_from = None


def _own(trained: DictConfig, measure: Measure) -> Own | None:
    """The run's own judge and reward, built only for a measure that asks them."""
    wanted = isinstance(measure, WinRate) and measure.takes_the_runs
    seat = trained.callbacks.get("rubric_reward") if wanted else None
    return Own(instantiate(seat.judge), instantiate(seat.reward), instantiate(seat.rubric)) if seat else None


def bench(config: DictConfig) -> BenchResult:
    """Measures `judge`, asked by `reward.protocol` with rubrics of `rubric`, on `preferences`.

    Raises:
        UserError: the protocol and the other parts do not fit, or `run_dir` holds another bench.
    """
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    setting = setting_of(config)
    result: BenchResult = instantiate(config.bench).run(setting)
    print(markdown(result))
    print(f"verdicts and figures: {config.run_dir}")
    return result


def setting_of(config: DictConfig) -> dict[str, Any]:
    """What is measured: a bench goes on with the verdicts of another call if this is the same."""
    return {**{key: _plain(OmegaConf.select(config, key)) for key in SETTING}, "judge": _asked(config)}


def _asked(config: DictConfig) -> Any:
    """The judge, but for how a model is reached."""
    judge = _plain(config.judge)
    if model := (judge or {}).get("model"):
        judge["model"] = {key: value for key, value in model.items() if key not in SERVING}
    return judge


def _plain(part: DictConfig | None) -> Any:
    return None if part is None else OmegaConf.to_container(part, resolve=True)


def benchmark(config: DictConfig) -> dict[str, Any]:
    """Asks what is not answered yet, prints the figures, and writes them to `scores.json` in `run_dir`.

    Raises:
        UserError: the benchmark has no questions, a picture is missing, or `run_dir` holds answers of something else.
    """
    if config.benchmark.questions is None:
        raise UserError(
            f"benchmark={config.benchmark.name} comes with no questions that a judge could answer: draw with `arr-rpo "
            "generate`, and take its official scorer (docs/benchmarks.md)"
        )
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    files = Benchmark.of(config)
    quieten()
    result = score_folder(
        instantiate(config.judge),
        files.layout,
        files.files,
        instantiate(config.benchmark.questions, _convert_="all"),
        pictures=Path(config.output),
        folder=Path(config.run_dir),
        setting=_drawn_and_asked(config),
        resampling=instantiate(config.resampling),
        batch_size=config.batch_size,
        progress=config.progress,
    )
    _show(config.benchmark.name, result)
    print(f"answers and figures: {config.run_dir}")
    return result


def _drawn_and_asked(config: DictConfig) -> dict[str, Any]:
    """What a benchmark's scores are of, and by whom."""
    drawn = manifest.read(Path(config.output)) or {}
    return {
        "benchmark": config.benchmark.name,
        "prompts": manifest.digest_of(config.prompts),
        "questions": manifest.digest_of(config.questions),
        "pictures": {key: value for key, value in drawn.items() if key not in manifest.TOLD},
        "judge": _asked(config),
    }


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
