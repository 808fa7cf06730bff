"""`python evaluate.py run=<folder>`: measures a finished run's policy on its held-out prompts again.
`python evaluate.py task=judge ...`: measures a judge on labelled pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from arr_rpo.commands.errors import plain_errors
from arr_rpo.commands.foreign import allowed, config_of, only_files
from arr_rpo.commands.run_folder import SERVING
from arr_rpo.data.datamodule import PromptDataModule
from arr_rpo.evaluation.images import measurable, measure, pictures
from arr_rpo.evaluation.judge_bench import BenchResult, markdown
from arr_rpo.run.layout import POLICY
from arr_rpo.types import UserError
from arr_rpo.whole_files import write_json

SETTING = ("judge", "rubric", "reward.protocol", "preferences")  # what a bench measures, beside its sample


@hydra.main(version_base="1.3", config_path="pkg://arr_rpo.configs", config_name="evaluate")
@plain_errors
def main(config: DictConfig) -> None:
    """Prints what was measured, and writes it: `evaluation.json` in a policy's run folder, `bench.json` in a bench's own."""
    (bench if config.task == "judge" else evaluate)(config)


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Loads the run's weights as a user would (`load_lora_weights`, or the pipeline folder) and measures them.

    Raises:
        UserError: the folder is no run, or one that did not end; or no oracle knows its held-out prompts.
    """
    run = Path(config.run)
    trained = finished_run(run, allowed(config))
    data, eval_seed = instantiate(trained.data), OmegaConf.select(trained, "callbacks.summary.eval_seed")
    if not isinstance(data, PromptDataModule) or not isinstance(eval_seed, int):
        raise UserError(f"run={run}: its config has no prompts, or no callbacks.summary.eval_seed that they were measured with")
    splits = {name: prompts for name, prompts in (("heldout", data.heldout), ("unseen", data.unseen)) if prompts}
    known = {name: prompts for name, prompts in splits.items() if measurable(prompts)}
    if not known:
        raise UserError(
            f"run={run}: no oracle knows its held-out prompts, so nothing can be counted. {run}/heldout_pictures has pictures "
            "of them before and after training, and `python evaluate.py task=judge` measures judges."
        )
    policy = instantiate(trained.policy)
    policy.load_trained(run / POLICY)
    result: dict[str, Any] = {}
    for name, prompts in splits.items():
        if name not in known:
            print(f"{name}: not measured, since no oracle knows these prompts")
            continue
        images = pictures(policy, prompts, eval_seed, config.batch_size)
        result[name] = measure(prompts, images).to_dict()
        print(f"{name}: strict {result[name]['strict']:.3f}, criteria {result[name]['criteria']:.3f}, {len(prompts)} prompts")
    write_json(run / "evaluation.json", result)
    return result


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
