"""One run folder -> `Run`. What is missing, damaged or older than this package is a sentence in `missing`, never an error."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arr_rpo.report.arms import seed_of
from arr_rpo.report.files import is_cut_off, picture, read_as, read_json, read_rows, read_yaml
from arr_rpo.report.study import LARGEST, Curve, HeldoutPrompt, Measured, ProgressPoint, Run, number_at
from arr_rpo.run import layout, recorded
from arr_rpo.run.layout import Rows, State
from arr_rpo.run.renamed import renamed

MEASURED = "heldout/"  # tags of what the rows of progress have, too
# What it means for the report that a file is not there.
WITHOUT = {
    layout.SUMMARY: "the run did not end",
    Rows.HELDOUT: "it cannot be paired by prompt",
    Rows.PROGRESS: "it cannot be compared at equal images, equal judge calls or matched KL",
    Rows.METRICS: "no curves of training; a run of before there was this file has them in TensorBoard's files alone",
}


def read_run(folder: Path, study: Path) -> Run:
    """One run, whose `arm` is still to be found among those of its study."""
    missing: list[str] = []
    config = renamed(read_yaml(folder / layout.CONFIG, missing))
    summary = read_json(folder / layout.SUMMARY, missing)
    progress = _progress(folder, missing)
    heldout = tuple(read_as(folder / Rows.HELDOUT, lambda row: _heldout(folder, row), missing))
    versions = read_json(folder / layout.VERSIONS, missing)
    curves = _curves(folder, config, summary, progress, missing)
    state = read_json(folder / layout.STATE, missing) if os.path.lexists(folder / layout.STATE) else {}  # older runs have none
    if state.get("state") == State.FAILED:
        missing.append(f"it failed: {(str(state.get('error', '')).splitlines() or ['nobody knows why'])[-1]}")
    _look_at(folder / Rows.VERDICTS, missing)
    alarms = tuple(_alarms(folder, missing))
    return Run(
        folder=folder,
        name=folder.relative_to(study).as_posix() if folder != study else folder.resolve().name,
        arm="",
        seed=_seed(folder, config, summary),
        finished=bool(summary) and state.get("state", State.FINISHED) == State.FINISHED,
        config=config,
        summary=summary,
        measures=_measures(summary),
        heldout=heldout,
        progress=progress,
        curves=curves,
        versions=versions,
        verdict_pictures=tuple(sorted((folder / layout.VERDICT_PICTURES).glob("*.json"))),
        missing=tuple(_explained(what) for what in missing),
        alarms=alarms,
    )


def _look_at(verdicts: Path, missing: list[str]) -> None:
    """They are many, and none is read: only whether the last one is whole."""
    try:
        if is_cut_off(verdicts):
            missing.append(f"the last line of {verdicts.name} is cut off")
    except FileNotFoundError:
        missing.append(f"no {verdicts.name}")
    except OSError as error:
        missing.append(f"{verdicts.name} cannot be read ({error})")


def _explained(what: str) -> str:
    """ "no summary.json" -> "no summary.json: the run did not end"."""
    name = what.removeprefix("no ")
    return f"{what}: {WITHOUT[name]}" if name != what and name in WITHOUT else what


def _heldout(folder: Path, row: Mapping[str, Any]) -> HeldoutPrompt:
    pictures = {str(name): picture(folder, path) for name, path in row.get("pictures", {}).items()}
    return HeldoutPrompt(
        prompt_id=str(row["prompt_id"]),
        split=str(row["split"]),
        tag=str(row["tag"]),
        text=str(row["prompt"]),
        before=_values(recorded.values(row["before"])),
        after=_values(recorded.values(row["after"])),
        pictures={name: path for name, path in pictures.items() if path is not None},
    )


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
    met = {str(name): bool(met) for name, met in found.get("met", {}).items()}
    return Measured(None if found["value"] is None else _number(found["value"]), figures, by_prompt, met)


def _progress(folder: Path, missing: list[str]) -> tuple[ProgressPoint, ...]:
    """By update; of two rows of one update the later counts."""
    points = {point.update: point for point in read_as(folder / Rows.PROGRESS, _point, missing)}
    return tuple(points[update] for update in sorted(points))


def _point(row: Mapping[str, Any]) -> ProgressPoint:
    return ProgressPoint(
        update=int(row["update"]),
        images=int(_number(row["images"])),
        judge_calls=None if row.get("judge_calls") is None else int(_number(row["judge_calls"])),
        seconds=None if row.get("seconds") is None else _number(row["seconds"]),
        kl=None if row.get("kl") is None else _number(row["kl"]),
        measures=_values(recorded.on_the_way(row)),
    )


def _alarms(folder: Path, missing: list[str]) -> Iterator[str]:
    """What `callbacks.hacking_monitor` said."""
    if os.path.lexists(folder / Rows.ALARMS):
        for row in read_rows(folder / Rows.ALARMS, missing):
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
    """Rows count updates from 0, curves the updates done."""
    scalars: dict[str, dict[int, float]] = {}
    for update, row in read_as(folder / Rows.METRICS, lambda row: (_update(row), row), missing):
        for tag, value in row.items():
            if tag != "update" and not tag.startswith(MEASURED) and isinstance(value, int | float):
                scalars.setdefault(tag, {})[update + 1] = float(value)
    known = _spent(config, summary, progress, max((max(some) for some in scalars.values()), default=0))
    curves = {}
    for tag, some in scalars.items():
        updates = sorted(some)
        spent = {name: tuple(np.interp(updates, *points).tolist()) for name, points in known.items()}
        values = tuple(some[update] for update in updates)
        curves[tag] = Curve(tag, tuple(updates), values, spent.get("images", ()), spent.get("judge_calls", ()))
    return curves


def _update(row: Mapping[str, Any]) -> int:
    if not isinstance(update := row["update"], int) or not 0 <= update < LARGEST:
        raise ValueError(f"update {update!r}")
    return update


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
