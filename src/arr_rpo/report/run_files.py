"""One run folder -> `Run`. What is missing, damaged or older than this package is a sentence in `missing`, never an error."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arr_rpo.report.arms import seed_of
from arr_rpo.report.event_files import Scalars, read_events, read_metrics
from arr_rpo.report.files import is_cut_off, picture, read_json, read_rows, read_yaml
from arr_rpo.report.records import LARGEST, Curve, HeldoutPrompt, Measured, ProgressPoint, Run, number_at
from arr_rpo.run import layout, recorded

EVENTS, METRICS, VERDICTS = "events.out.tfevents", "metrics.csv", "verdicts.jsonl"
NO_CURVES = ("epoch", "step")
MEASURED = "heldout/"  # tags of what `progress.jsonl` has, too


# What it means for the report that a file is not there.
WITHOUT = {
    "summary.json": "the run did not end",
    "heldout.jsonl": "it cannot be paired by prompt",
    "progress.jsonl": "it cannot be compared at equal images, equal judge calls or matched KL",
}


def read_run(folder: Path, study: Path) -> Run:
    """One run, whose `arm` is still to be found among those of its study."""
    missing: list[str] = []
    config = read_yaml(folder / "config.yaml", missing)
    summary = read_json(folder / "summary.json", missing)
    progress = tuple(_progress(folder, missing))
    heldout = tuple(_heldout(folder, missing))
    versions = read_json(folder / "versions.json", missing)
    curves = _curves(folder, config, summary, progress, missing)
    state = read_json(folder / layout.STATE, missing) if os.path.lexists(folder / layout.STATE) else {}  # older runs have none
    if state.get("state") == layout.State.FAILED:
        missing.append(f"it failed: {(str(state.get('error', '')).splitlines() or ['nobody knows why'])[-1]}")
    verdicts = folder / VERDICTS
    try:
        if is_cut_off(verdicts):
            missing.append(f"the last line of {VERDICTS} is cut off")
    except FileNotFoundError:
        missing.append(f"no {VERDICTS}")
    except OSError as error:
        missing.append(f"{VERDICTS} cannot be read ({error})")
    return Run(
        folder=folder,
        name=folder.relative_to(study).as_posix() if folder != study else folder.resolve().name,
        arm="",
        seed=_seed(folder, config, summary),
        finished=bool(summary) and state.get("state", layout.State.FINISHED) == layout.State.FINISHED,
        config=config,
        summary=summary,
        measures=_measures(summary),
        heldout=heldout,
        progress=progress,
        curves=curves,
        versions=versions,
        verdict_pictures=tuple(sorted((folder / "verdict_pictures").glob("*.json"))),
        missing=tuple(_explained(what) for what in missing),
        alarms=tuple(_alarms(folder, missing)),
    )


def _explained(what: str) -> str:
    """ "no summary.json" -> "no summary.json: the run did not end"."""
    name = what.removeprefix("no ")
    return f"{what}: {WITHOUT[name]}" if name != what and name in WITHOUT else what


def _heldout(folder: Path, missing: list[str]) -> Iterator[HeldoutPrompt]:
    bad = 0
    for row in read_rows(folder / "heldout.jsonl", missing):
        try:
            pictures = {str(name): picture(folder, path) for name, path in row.get("pictures", {}).items()}
            yield HeldoutPrompt(
                prompt_id=str(row["prompt_id"]),
                split=str(row["split"]),
                tag=str(row["tag"]),
                text=str(row["prompt"]),
                before=_values(recorded.values(row["before"])),
                after=_values(recorded.values(row["after"])),
                pictures={name: path for name, path in pictures.items() if path is not None},
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            bad += 1
    if bad:
        missing.append(f"heldout.jsonl: {bad} rows are in no form that is known")


def _measures(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those that are mappings: a summary may be of anybody."""
    try:
        return {str(name): dict(found) for name, found in recorded.measures(summary).items() if isinstance(found, Mapping)}
    except (TypeError, ValueError, AttributeError):
        return {}


def _values(found: Mapping[str, Any]) -> dict[str, Measured]:
    return {str(name): _value(one) for name, one in found.items()}


def _value(found: Mapping[str, Any]) -> Measured:
    figures = {str(name): _number(figure) for name, figure in found.get("figures", {}).items() if figure is not None}
    by_prompt = {str(name): _number(value) for name, value in found.get("by_prompt", {}).items() if value is not None}
    return Measured(None if found["value"] is None else _number(found["value"]), figures, by_prompt)


def _progress(folder: Path, missing: list[str]) -> list[ProgressPoint]:
    points, bad = {}, 0
    for row in read_rows(folder / "progress.jsonl", missing):
        try:
            points[int(row["update"])] = ProgressPoint(
                update=int(row["update"]),
                images=int(_number(row["images"])),
                judge_calls=None if row.get("judge_calls") is None else int(_number(row["judge_calls"])),
                seconds=None if row.get("seconds") is None else _number(row["seconds"]),
                kl=None if row.get("kl") is None else _number(row["kl"]),
                measures=_values(recorded.on_the_way(row)),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            bad += 1
    if bad:
        missing.append(f"progress.jsonl: {bad} rows are in no form that is known")
    return [points[update] for update in sorted(points)]


def _alarms(folder: Path, missing: list[str]) -> Iterator[str]:
    """What `callbacks.hacking_monitor` said."""
    if os.path.lexists(folder / layout.Rows.ALARMS):
        for row in read_rows(folder / layout.Rows.ALARMS, missing):
            reasons = row.get("reasons")
            if isinstance(reasons, list):
                yield f"after {row.get('update')} updates: {'; '.join(map(str, reasons))}"


def _number(value: Any, most: float = LARGEST) -> float:
    """Raises ValueError beyond what can be meant: sums and differences of such numbers are infinite."""
    if not -most <= (number := float(value)) <= most:
        raise ValueError(f"{number} is beyond {most}")
    return number


def _curves(
    folder: Path, config: Mapping[str, Any], summary: Mapping[str, Any], progress: Sequence[ProgressPoint], missing: list[str]
) -> dict[str, Curve]:
    """From the run's own rows; of older runs from the event files, or else from the CSV. All count updates from 0."""
    scalars: Scalars = {}
    if os.path.lexists(folder / layout.Rows.METRICS):
        for row in read_rows(folder / layout.Rows.METRICS, missing):
            if not isinstance(update := row.get("update"), int) or not 0 <= update < LARGEST:
                missing.append(f"{layout.Rows.METRICS}: a row without the number of its update is left out")
                continue
            for tag, value in row.items():
                if tag != "update" and isinstance(value, int | float):
                    scalars.setdefault(tag, {})[update] = float(value)
    elif events := list(folder.rglob(f"{EVENTS}*")):
        scalars = read_events(events, missing)
    elif tables := list(folder.rglob(METRICS)):
        scalars = read_metrics(tables, missing)
    else:
        missing.append("no metrics.jsonl, no TensorBoard event file and no metrics.csv")
    scalars = {tag: some for tag, some in scalars.items() if tag not in NO_CURVES and not tag.startswith(MEASURED)}
    known = _spent(config, summary, progress, max((max(some) + 1 for some in scalars.values()), default=0))
    curves = {}
    for tag, some in scalars.items():
        updates = [step + 1 for step in sorted(some)]
        spent = {name: tuple(np.interp(updates, *points).tolist()) for name, points in known.items()}
        values = tuple(some[update - 1] for update in updates)
        curves[tag] = Curve(tag, tuple(updates), values, spent.get("images", ()), spent.get("judge_calls", ()))
    return curves


def _spent(
    config: Mapping[str, Any], summary: Mapping[str, Any], progress: Sequence[ProgressPoint], updates: int
) -> dict[str, tuple[list[int], list[float]]]:
    """Updates, and what was spent by then: recorded on the way, or else known of the start and of the end only."""
    known = {}
    for name, total in (("images", number_at(summary, "images")), ("judge_calls", number_at(summary, "judge", "calls"))):
        points = {p.update: float(getattr(p, name)) for p in progress if getattr(p, name) is not None}
        if len(points) < 2 and total is not None and updates:
            points = {0: 0.0, updates: total}
        if len(points) > 1:
            (x0, y0), (x1, y1) = list(points.items())[-2:]
            if updates > x1:  # the run was stopped between two measurements: it went on as before
                points[updates] = y1 + (updates - x1) * (y1 - y0) / (x1 - x0)
            known[name] = list(points), list(points.values())
    each = number_at(config, "data", "candidates_per_update")
    if "images" not in known and each is not None and updates:
        known["images"] = [0, updates], [0.0, each * updates]
    return known


def _seed(folder: Path, config: Mapping[str, Any], summary: Mapping[str, Any]) -> int | None:
    for seed in (config.get("seed"), summary.get("seed"), seed_of(folder)):
        if isinstance(seed, int):
            return seed
    return None
