"""The runs below a folder -> `Study`. A run that cannot be read in full makes sentences in `missing`, never an error."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arr_rpo.report.arms import arm_names, label, replicate_of
from arr_rpo.report.read_run import read_run
from arr_rpo.report.study import Run, Study
from arr_rpo.run import layout
from arr_rpo.types import UserError

# A folder with one of these is a run's.
# What is read of a `study` block; whatever else stands in it is the runs' own.
BLOCK = ("name", "question", "reference", "replicates", "arms", "pairs", "claims")
MARKS = {layout.CONFIG, layout.STATE, layout.SUMMARY, layout.Rows.METRICS, layout.Rows.PROGRESS}


def read_study(*folders: Path, reference: str | None = None, replicates: str | None = None) -> Study:
    """All runs below some folders, or the one run that a folder is.

    reference: the arm that the others are compared with, replicates: the override that arms are repeated over beside seeds,
    both in place of the study's own.

    Raises:
        UserError: there is no run, none of that arm, or no folder's name has that override.
    """
    if len(folders) > 1:
        folders = tuple(folder.absolute() for folder in folders)
    places = list(dict.fromkeys(path for folder in folders for path in run_folders(folder)))
    if not places:
        named = ", ".join(map(str, folders))
        raise UserError(f"{named} holds no run and no finished bench: give the folder of a run, a sweep or a study")
    folder = folders[0] if len(folders) == 1 else Path(os.path.commonpath(folders))
    read = {path: read_run(path, folder) for path in places}
    missing: list[str] = several_experiments(read.values())
    block = _block(read.values(), missing)
    repeated_over = str(block.get("replicates") or "") if replicates is None else replicates
    of = {path: replicate_of(path, repeated_over) for path in read}
    if replicates and not any(of.values()):
        raise UserError(f"replicates={replicates}: no run's folder is named so; a name is {places[0].name!r}")
    if len({value for value in of.values() if value}) < 2:  # of one, seeds are what there are several of
        repeated_over, of = "", dict.fromkeys(read, "")
    missing += [
        f"{run.name} is left out: its folder names no {repeated_over}"
        for path, run in read.items()
        if repeated_over and not of[path]
    ]
    read = {path: run for path, run in read.items() if of[path] or not repeated_over}
    names = arm_names({path: label(run.config, path, repeated_over) for path, run in read.items()})
    runs = [dataclasses.replace(run, arm=names[path], of=of[path]) for path, run in read.items()]
    arms = _in_order(names.values(), _arms_named(block))
    runs.sort(key=lambda run: (arms.index(run.arm), run.of, run.seed is None, run.seed or 0, run.name))
    if reference is not None and reference not in arms:
        raise UserError(f"reference={reference!r}: no such arm; there are {', '.join(map(repr, arms))}")
    compared = reference or block.get("reference")
    if compared is not None and compared not in arms:
        missing.append(f"the study's reference is {compared!r}, and no run is of that arm")
        compared = None
    missing += [f"no run of the arm {arm!r}" for arm in _arms_named(block) if arm not in arms]
    missing += repeated(runs)
    missing += [f"{run.name}: {what}" for run in runs for what in run.missing]
    return Study(
        folder=folder,
        name=str(block.get("name") or folder.resolve().name),
        question=str(block.get("question") or ""),
        reference=compared,
        arms=arms,
        pairs=tuple((pair[0], pair[1]) for pair in _lists(block.get("pairs")) if len(pair) == 2),
        claims=tuple(tuple(claim) for claim in _lists(block.get("claims")) if len(claim) > 1),
        runs=tuple(runs),
        missing=tuple(missing),
        measures=_measures(runs),
        replicates=repeated_over,
    )


def _measures(runs: Sequence[Run]) -> tuple[str, ...]:
    """Names of those that any run has a value of."""
    on_the_way = {name for run in runs for p in run.progress for name, one in p.measures.items() if one.value is not None}
    named = [name for run in runs for name in run.measures if run.mean(name, "after") is not None]
    return tuple(dict.fromkeys([*named, *sorted(on_the_way)]))


def run_folders(folder: Path) -> Iterator[Path]:
    """Runs do not lie in each other, so nothing below a run is looked at. A link leads to what it names, once."""
    seen: set[str] = set()
    for path, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (real := os.path.realpath(path)) in seen:
            folders.clear()
            continue
        seen.add(real)
        if MARKS & set(files):
            folders.clear()
            yield Path(path)


def several_experiments(runs: Collection[Run]) -> list[str]:
    """A sentence, if a study was run on more than one task, as its claims are about one."""
    names = sorted({str(run.config["name"]) for run in runs if "study" in run.config and "name" in run.config})
    return [f"these are runs of several experiments ({', '.join(names)}): give one folder of them at a time"] * (len(names) > 1)


def repeated(runs: Sequence[Run]) -> list[str]:
    """A sentence for each finished run that is in no comparison, because another one has its arm and replicate."""
    first: dict[tuple[str, str], Run] = {}
    said = []
    for run in runs:
        if run.finished and first.setdefault((run.arm, run.which), run) is not run:
            other = first[run.arm, run.which].name
            said.append(f"{run.name} is in no comparison: {other} is of the same arm ({run.arm}) and replicate ({run.which})")
    return said


def _block(runs: Iterable[Run], missing: list[str]) -> dict[str, Any]:
    """The `study` block of the runs' configs; what an older run's lacks is taken from the others'."""
    block: dict[str, Any] = {}
    differ: dict[str, None] = {}
    for run in runs:
        block_of_run = run.config.get("study")
        own = block_of_run if isinstance(block_of_run, Mapping) else {}
        for key in BLOCK:
            if own.get(key) is not None and block.setdefault(key, own[key]) != own[key]:
                differ[key] = None
    if differ:
        missing.append(f"the runs' configs have different `study` blocks ({', '.join(differ)}): that of the first run counts")
    return block


def _arms_named(block: Mapping[str, Any]) -> list[str]:
    """The arms that the study names, as a list or as a mapping."""
    arms = block.get("arms")
    return [str(arm) for arm in arms] if isinstance(arms, list | Mapping) else []


def _in_order(arms: Iterable[str], named: Sequence[str]) -> tuple[str, ...]:
    """Each arm once: those that the study names in its order, then the others as their folders are sorted."""
    found = list(dict.fromkeys(arms))
    return tuple([arm for arm in named if arm in found] + [arm for arm in found if arm not in named])


def _lists(entries: Any) -> list[list[str]]:
    """["rubric > scalar"] or [["rubric", "scalar"]], or one of them alone -> [["rubric", "scalar"]]."""
    some = [entries] if isinstance(entries, str) else entries if isinstance(entries, list) else []
    if all(isinstance(entry, str) and ">" not in entry for entry in some):
        some = [some]
    split = ([part.strip() for part in entry.split(">")] if isinstance(entry, str) else entry for entry in some)
    return [[str(arm) for arm in entry] for entry in split if isinstance(entry, list)]
