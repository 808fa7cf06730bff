"""`arr-rpo refine refinement=<kind> prompts=<file>`: generate, criticise, refine at test time, and what it was worth.

Prompts that are in `refinement.jsonl` are not drawn again: a run that was stopped goes on with `run_dir=<its folder>`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from arr_rpo.commands.cli.entry import entry
from arr_rpo.commands.runs.finished import painter, with_policy_of_run
from arr_rpo.commands.runs.processes import one_process
from arr_rpo.commands.runs.stage import OtherRunError, differences
from arr_rpo.commands.runs.training import recorded, versions
from arr_rpo.data.prompts import Reading, read_prompts
from arr_rpo.evaluation.images import spread
from arr_rpo.judge.base import Judge
from arr_rpo.measure.base import Measure
from arr_rpo.refinement.figures import summary
from arr_rpo.refinement.loop import RefinementLoop
from arr_rpo.refinement.records import Records
from arr_rpo.refinement.sheet import sheet
from arr_rpo.refinement.steps import Redraw
from arr_rpo.run.folder import RunFolder
from arr_rpo.run.layout import CONFIG, VERSIONS
from arr_rpo.run.lock import occupied
from arr_rpo.types import UserError
from arr_rpo.whole_files import write_json

# What changes no picture and no grade: a stopped run may go on with other values.
FREE = ("allow", "limit", "batch_size", "device", "progress", "sheet", "resampling")
# What a folder of before does not have, and what it then was.
SINCE = {"base": "False", "drawing.num_inference_steps": "None", "drawing.call": "{}", "drawing.batch_size": "None"}
SINCE |= {"drawing.release_text_encoders": "None"}


@entry(
    "refine",
    {
        "prompts=FILE": "for which prompts",
        "run=runs/... or policy=...": "who draws",
        "rounds=4": "pictures of a prompt at most",
    },
)
def main(config: DictConfig) -> None:
    """Prints what the measures say of the kept pictures."""
    refine(with_policy_of_run(config, list(HydraConfig.get().overrides.task)))


def refine(config: DictConfig) -> dict[str, Any]:
    """Draws what is not drawn yet, and measures all of it.

    Raises:
        UserError: the parts do not fit, or `run_dir` holds a run with another config.
    """
    one_process("refine")
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    folder = Path(config.run_dir)
    with occupied(folder):
        refuse_another(folder, config)
        prompts, records, judge = (
            read_prompts(config.prompts, Reading(**config.data)),
            Records(folder, _measures(config)),
            instantiate(config.judge),
        )
        asked = spread(range(len(prompts)), len(prompts) if config.limit is None else config.limit)
        if not asked:
            raise UserError(f"limit={config.limit}: one prompt is the least")
        todo = [number for number in asked if not records.has(prompts[number])]
        refinement = instantiate(config.refinement)
        loop = RefinementLoop(
            policy=painter(config, prompts if isinstance(refinement, Redraw) else None),  # others write texts of their own
            judge=judge,
            critic=instantiate(config.critic),
            refinement=refinement,
            rounds=config.rounds,
            good_enough=config.good_enough,
            seed=config.seed,
        )
        run = RunFolder(folder)
        run.text(CONFIG, recorded(config))
        run.json(VERSIONS, versions(run))
        with Progress(disable=not config.progress) as progress:
            bar = progress.add_task("refining", total=len(asked), completed=len(asked) - len(todo))
            for start in range(0, len(todo), config.batch_size):
                numbers = todo[start : start + config.batch_size]
                batch = [prompts[number] for number in numbers]
                records.add(batch, numbers, loop.run(batch))
                progress.advance(bar, len(batch))
        rows = [records.rows[prompts.rows[number].id] for number in asked]
        result = {**summary(rows, instantiate(config.resampling)), "judge": _named(judge)}
        write_json(folder / "summary.json", result)
        if config.sheet:
            sheet(spread(rows, config.sheet), folder).save(folder / "attempts.png")
    _show(result)
    print(f"pictures, critiques and figures: {folder}")
    return result


def refuse_another(folder: Path, config: DictConfig) -> None:
    """Raises an OtherRunError where the folder holds a refinement of another kind."""
    if not (folder / "config.yaml").is_file():
        return
    found = {
        key: (there, here)
        for key, (there, here) in differences(folder, config).items()
        if key.split(".")[0] not in FREE and not (there == "nothing" and SINCE.get(key) == here)
    }
    if found:
        shown = "; ".join(f"{key} is {there} there and {here} here" for key, (there, here) in list(found.items())[:6])
        raise OtherRunError(f"run_dir={folder} holds another refinement: {shown}. Give its values, or another run_dir.")


def _measures(config: DictConfig) -> dict[str, Measure]:
    """By name.

    Raises:
        UserError: one compares with pictures of before training, of which there are none here.
    """
    found = {str(name): instantiate(measure) for name, measure in config.measure.items()}
    if paired := [name for name, measure in found.items() if measure.against_base]:
        raise UserError(f"measure={paired[0]} compares with pictures of before training: leave it out here")
    return found


def _named(judge: Judge) -> dict[str, str]:
    return {"name": judge.name, "revision": judge.revision}


def _show(result: dict[str, Any]) -> None:
    table = Table(title="grades by the judge, the rest by measures")
    for column in ("", "mean", "interval", "of"):
        table.add_column(column, justify="left" if not column else "right")
    for what, figures in {"grade": result["grade"], **result["measured"]}.items():
        for name, figure in figures.items():
            interval = "-" if figure["low"] is None else f"{figure['low']:.3f} to {figure['high']:.3f}"
            mean = "-" if figure["value"] is None else f"{figure['value']:.3f}"
            table.add_row(f"{what}, {name.replace('_', ' ')}", mean, interval, str(figure["of"]))
    Console().print(table)
    counts = ("prompts", "pictures", "ungraded", "critiques_failed", "texts_unread", "calls", "tokens")
    print(", ".join(f"{name.replace('_', ' ')} {result[name]:,}" for name in counts))
