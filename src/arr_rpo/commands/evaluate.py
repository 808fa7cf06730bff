"""`python evaluate.py run=<folder>`: measures a finished run's policy on its held-out prompts again, by its or other measures.
`python evaluate.py task=judge ...`: measures a judge on labelled pairs.
`python evaluate.py task=benchmark ...`: a judge's answers to the questions of a benchmark, on pictures of `generate.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL.Image import Image

from arr_rpo.callbacks.heldout import Heldout
from arr_rpo.commands.entry import entry
from arr_rpo.commands.foreign import allowed, config_of, only_files
from arr_rpo.commands.run_folder import SERVING
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.evaluation.images import pictures, seen
from arr_rpo.evaluation.judge_bench import BenchResult, markdown
from arr_rpo.measure.base import Measure, Own
from arr_rpo.measure.win_rate import WinRate
from arr_rpo.run.layout import POLICY
from arr_rpo.types import UserError
from arr_rpo.whole_files import write_json

SETTING = ("judge", "rubric", "reward.protocol", "preferences")  # what a bench measures, beside its sample


@entry(
    "evaluate",
    {
        "run=runs/...": "the held-out pictures of a finished run, by its measures or measure=[...]",
        "task=judge judge=...": "how good a judge is on labelled pairs (docs/bench.md)",
        "task=benchmark benchmark=dpg": "a judge's answers to a benchmark's questions (docs/benchmarks.md)",
    },
)
def main(config: DictConfig) -> None:
    """Prints what was measured, and writes it: `evaluation.json` in a policy's run folder, `bench.json` or
    `scores.json` in a folder of its own."""
    if config.task == "benchmark":
        from arr_rpo.commands.benchmark_scores import benchmark_scores

        benchmark_scores(config)
    else:
        (bench if config.task == "judge" else evaluate)(config)


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Loads the run's weights as a user would (`load_lora_weights`, or the pipeline folder) and measures them, by the run's own
    measures or by those of the command.

    Raises:
        UserError: the folder is no run, or one that did not end; or nothing can be measured.
    """
    run = Path(config.run)
    trained = finished_run(run, allowed(config))
    callback = OmegaConf.select(trained, "callbacks.heldout")
    if callback is not None and config.measure:
        callback.measures = config.measure
    data, how = instantiate(trained.data), instantiate(callback)
    if not isinstance(data, PromptDataModule) or not isinstance(how, Heldout):
        raise UserError(f"run={run}: its config has no prompts, or no callbacks.heldout that says how they are measured")
    measures = dict(how.measures)
    for name, measure in how.measures.items():
        if why := measure.why_not(data.heldout):
            print(f"measure={name} is left out: {why}")
            del measures[name]
    if not measures:
        raise UserError(
            f"run={run}: there is nothing to measure by. measure=[...] names measures (docs/measures.md), and "
            f"{run}/heldout_pictures has pictures before and after training"
        )
    for measure in measures.values():
        measure.begin(_own(trained, measure))
    policy = instantiate(trained.policy)
    policy.load_trained(run / POLICY)
    result: dict[str, Any] = {}
    with policy.drawing(how.drawing.get("num_inference_steps"), how.drawing.get("call") or {}):
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


def _own(trained: DictConfig, measure: Measure) -> Own | None:
    """The run's own judge and reward, built only for a measure that asks them."""
    wanted = isinstance(measure, WinRate) and (measure.judge is None or not measure.asked)
    seat = trained.callbacks.get("rubric_reward") if wanted else None
    return Own(instantiate(seat.judge), instantiate(seat.reward), instantiate(seat.rubric)) if seat else None


def finished_run(run: Path, allow: Sequence[str] = ()) -> DictConfig:
    """The config of a run of train.py, whose weights are in its folder `policy`.

    allow: what it may name to be called, beside this package's own.

    Raises:
        UserError: the folder is no run, or one that did not end, or its config names something else to be called.
    """
    config = config_of(run, "run", allow, needs=("policy", "data"))
    if not (run / POLICY).is_dir():
        raise UserError(f"run={run}: no folder `policy` there, so the run did not end. Go on with train.py and resume={run}.")
    only_files(run / POLICY)
    OmegaConf.resolve(config)  # its parts may become parts of another config
    if OmegaConf.select(config, "policy.adapter.start_from"):
        config.policy.adapter.start_from = None  # what the run started from is in its weights, and need not be there any more
    return config


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
    setting = {key: _plain(OmegaConf.select(config, key)) for key in SETTING}
    if model := (setting["judge"] or {}).get("model"):
        setting["judge"]["model"] = {key: value for key, value in model.items() if key not in SERVING}
    return setting


def _plain(part: DictConfig | None) -> Any:
    return None if part is None else OmegaConf.to_container(part, resolve=True)
