"""`arr-rpo rubrics rubric=<source> prompts=<file>`: the rubrics of some prompts, written, verified, stored, exported.

What is in the store is not written again: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from arr_rpo.commands.cli.entry import entry
from arr_rpo.data.prompts import Reading, read_prompts
from arr_rpo.judge.base import Judge
from arr_rpo.judge.wording import render
from arr_rpo.rubric.counts import Counts
from arr_rpo.rubric.files import criteria_digest, to_yaml
from arr_rpo.rubric.sources import RubricSource
from arr_rpo.rubric.store import RubricStore
from arr_rpo.types import Prompt, Rubric, UserError
from arr_rpo.whole_files import write_json


@entry(
    "rubrics",
    {
        "prompts=FILE": "for which prompts",
        "judge=qwen3_vl": "who writes",
        "export=FOLDER": "YAML files to read, edit and load again",
    },
)
def main(config: DictConfig) -> None:
    """Prints progress, some of the rubrics, and what became of all that was written."""
    rubrics(config)


def rubrics(config: DictConfig) -> list[Rubric | None]:
    """The rubric of each prompt of the config."""
    if config.rubric is None:
        raise UserError("rubric=none writes none: choose per_prompt, per_prompt_refined, global, global_weighted, ...")
    prompts = read_prompts(config.prompts, Reading(**config.data))
    judge, source = instantiate(config.judge), instantiate(config.rubric)
    count = len(prompts) if config.limit is None else min(config.limit, len(prompts))
    found = _in_batches(prompts, count, source, judge, config.batch_size)
    unique = {(criteria_digest(r), r.provenance.get("prompt"), r.provenance.get("source")): r for r in found if r is not None}
    _show(list(unique.values())[: config.show])
    _table(source.counts)
    if config.export:
        folder = export(list(unique.values()), Path(config.export))
        print(f"{len(unique)} rubrics to edit in {folder}; load them with rubric=from_file rubric.path={folder}")
    if config.json:
        write_json(Path(config.json), asdict(source.counts))
    return found


def _in_batches(prompts: Sequence[Prompt], count: int, source: RubricSource, judge: Judge, size: int) -> list[Rubric | None]:
    """Of the first `count` prompts, whose pictures are opened a batch at a time."""
    found: list[Rubric | None] = []
    started = time.monotonic()
    for start in range(0, count, size):
        found += source.rubrics(prompts[start : min(start + size, count)], judge)
        having, cost = sum(rubric is not None for rubric in found), source.cost
        seconds = time.monotonic() - started
        print(f"{len(found)} of {count} prompts, {having} with a rubric, {cost.calls:,} calls, {seconds:.0f} s", flush=True)
    return found


def export(rubrics: Sequence[Rubric], folder: Path) -> Path:
    """Each rubric as a YAML file that is named after its prompt.

    Raises:
        UserError: there is another rubric in one of the files, perhaps one that was edited.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for rubric in rubrics:
        path, text = folder / f"{_name(rubric)}.yaml", to_yaml(rubric)
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise UserError(
                f"{path} holds another rubric, perhaps one that you edited: export into another folder, or delete it"
            )
        path.write_text(text, encoding="utf-8")
    return folder


def _name(rubric: Rubric) -> str:
    """Of the prompt's first words; where they are cut or changed, with a hash of all."""
    prompt = rubric.provenance.get("prompt")
    if prompt is None:
        return "every_prompt"
    words = re.sub(r"\W+", "_", prompt.casefold()).strip("_")
    whole = words.replace("_", " ") == prompt and len(words) <= 80 and "source" not in rubric.provenance
    origin = {key: text for key, text in rubric.provenance.items() if key in ("prompt", "source")}
    return words if whole else f"{words[:60]}_{RubricStore.key(origin)[:8]}"


def _show(rubrics: Sequence[Rubric]) -> None:
    for rubric in rubrics:
        print(f"\n{rubric.provenance.get('prompt', 'every prompt')}\n{render(rubric)}")


def _table(report: Counts) -> None:
    table = Table("figure", "value", title="what was written in this run")
    for row in report.rows():
        table.add_row(*row)
    Console().print(table)
