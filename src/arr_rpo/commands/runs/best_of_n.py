"""`arr-rpo evaluate task=best_of_n reward=... measure=[...]`: how far a reward can be trusted before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from arr_rpo.commands.cli.quiet import quieten
from arr_rpo.commands.runs.finished import painter
from arr_rpo.commands.runs.processes import one_process
from arr_rpo.commands.runs.training import recorded, versions
from arr_rpo.data.prompts import Reading, read_prompts
from arr_rpo.evaluation.best_of_n import Graded, figures, graded, sheet
from arr_rpo.evaluation.images import spread
from arr_rpo.measure.base import Measure, Own
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import CONFIG, VERSIONS
from arr_rpo.types import Prompt, Rewards, Rollout, UserError


def best_of_n(config: DictConfig) -> dict[str, Any]:
    """Draws, grades and measures, prints a table, and writes `best_of_n.json` and `best_of_n.png` into `run_dir`. What is said
    of each picture is in `pictures.jsonl` as soon as its prompts are done.

    Raises:
        UserError: the parts do not fit, nothing can be graded or measured, or `run_dir` is not empty.
    """
    if config.pictures < 2 or config.pictures & (config.pictures - 1):
        raise UserError(f"pictures={config.pictures}: a power of two from 2 on, as n is doubled up to it")
    folder = Path(config.run_dir)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"run_dir={folder} is not empty: give a folder of its own, as nothing there is written over")
    one_process("task=best_of_n")
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    quieten()
    reward, rubric, judge = (instantiate(config[part]) for part in ("reward", "rubric", "judge"))
    if reward.uses_rubric and rubric is None:
        raise UserError("this reward reads a rubric and rubric=none: choose rubric=per_prompt, or reward=scalar")
    reward.check_group_size(config.pictures)
    rows, how = read_prompts(config.prompts, Reading(**config.data)), instantiate(config.resampling)
    chosen = spread(range(len(rows)), len(rows) if config.limit is None else config.limit)
    if not chosen:
        raise UserError(f"limit={config.limit}: one prompt is the least")
    prompts = tuple(rows[number] for number in chosen)
    measures, policy = _measures(config, prompts, Own(judge, reward, rubric)), painter(config, prompts)
    shown = {prompt.id for prompt in spread(prompts, config.sheet)}
    run = RunFolder(folder)
    run.text(CONFIG, recorded(config))
    run.json(VERSIONS, versions(run))

    def judged(rollout: Rollout) -> Rewards:
        asked = rubric.rubrics(rollout.prompts, judge) if reward.uses_rubric else [None] * len(rollout.prompts)
        rewards: Rewards = reward(judge, rollout, asked)
        return rewards

    found: list[Graded] = []
    with Progress(disable=not config.progress) as progress:
        bar = progress.add_task("drawing and grading", total=len(prompts))
        for start in range(0, len(prompts), config.batch_size):
            some = prompts[start : start + config.batch_size]
            found += graded(policy, judged, measures, some, config.pictures, config.seed, shown)
            with (folder / "pictures.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in found[start:])
            if not any(one.whole for one in found):
                raise UserError(
                    f"none of the first {len(found)} prompts had all of its pictures graded: `python evaluate.py task=judge` "
                    "says what the judge can do, and `arr-rpo probe` what a server can"
                )
            progress.advance(bar, len(some))
    result = figures(found, how)
    run.json("best_of_n.json", result)
    if shown:
        run.picture("best_of_n.png", sheet(found))
    _show(result)
    print(f"figures and pictures: {config.run_dir}")
    return result


def _measures(config: DictConfig, prompts: tuple[Prompt, ...], own: Own) -> dict[str, Measure]:
    """Those that have something to say of the prompts.

    Raises:
        UserError: none has.
    """
    found = {str(name): instantiate(measure) for name, measure in config.measure.items()}
    for name, measure in [*found.items()]:
        if why := measure.why_not(prompts):
            print(f"measure={name} is left out: {why}")
            del found[name]
    if not found:
        raise UserError("there is nothing to measure the choice by: measure=[...] names measures (docs/measures.md)")
    for measure in found.values():
        measure.begin(own)
        measure.prepare(prompts)
    return found


def _show(result: dict[str, Any]) -> None:
    table = Table(title=f"best of n by the reward, {result['prompts']} prompts")
    names = list(result["most"])
    for column in ("n", "KL, nats", "reward's own rank", *names):
        table.add_column(column, justify="right")
    for row in result["rows"]:
        worths = (_said(row["measures"][name]) for name in names)
        table.add_row(str(row["n"]), f"{row['kl']:.2f}", f"{row['proxy']:.2f}", *worths)
    table.add_row("last doubling", "", "", *(_said(result["last_doubling"][name], "+") for name in names))
    table.add_row("best by the measure", "", "", *(_said(result["most"][name]) for name in names))
    Console().print(table)
    for name in names:
        if (high := result["last_doubling"][name]["high"]) is not None and high < 0:
            print(f"{name} falls as the reward chooses among more: it is over-optimised by choosing alone")
    for who, left in {"reward": result["without_reward"], **result["without"]}.items():
        if left:
            print(f"{left} of {result['prompts']} prompts are left out: a picture of theirs has no value by {who}")
    if result["tied"] > 0.5:
        print(
            f"of {result['tied']:.0%} of the prompts several pictures are first alike, so that choosing among more says "
            "little: with a reward by verdicts take reward/pairing=round_robin"
        )


def _said(figure: dict[str, Any], sign: str = "") -> str:
    if figure["value"] is None:
        return "-"
    around = "" if figure["low"] is None else f" ({figure['low']:{sign}.3f} to {figure['high']:{sign}.3f})"
    return f"{figure['value']:{sign}.3f}{around}"
