"""Curves of a study as JSON for the page: each run, thinned, and each arm's mean with the range between its runs, against
updates, images and judge calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from arr_rpo.report.study import Measured, Run, Study
from arr_rpo.report.tables import last_update

AXES = (("updates", "updates"), ("images", "images"), ("judge_calls", "judge calls"))
HELDOUT, TRAINING, CRITERIA, FIGURES = "Held out", "In training", "Criteria in training, by the judge", "Held out, more"
LOGGED = {
    "reward/mean": "proxy reward",
    "judge/flip_rate": "flip rate",
    "judge/tie_rate": "tie rate",
    "judge/failure_rate": "judge failures",
    "policy/kl": "KL of a step (as logged)",
    "criterion/mean": "criteria met, by the judge",
}
FAILED = "judge/failed/"  # by reason
KL = "KL from the reference (nats an image)"


@dataclass(frozen=True)
class Series:
    """One quantity of one run. x: axis -> (T,); an axis that is unknown is left out. y: (T,)."""

    x: dict[str, np.ndarray]
    y: np.ndarray


def curves(study: Study, points: int, criteria: int) -> dict[str, Any]:
    """`metrics` (key, label, group), `axes`, and `lines`: metric -> for each arm its runs and its `bands`, an axis each.

    points: at most so many of a line. criteria: at most so many are shown, those that most runs have.
    """
    metrics = [metric for metric in _metrics(study, criteria) if any(series(run, metric[0]) for run in study.runs)]
    return {
        "axes": AXES,
        "metrics": [{"key": key, "label": label, "group": group} for key, label, group in metrics],
        "lines": {key: lines(study, key, points) for key, _, _ in metrics},
    }


def lines(study: Study, key: str, points: int) -> list[dict[str, Any]]:
    """One metric: a line for each arm that has it, by the arm's number."""
    every = (_line(study, arm, number, key, points) for number, arm in enumerate(study.arms))
    return [line for line in every if line["runs"]]


def _metrics(study: Study, criteria: int) -> list[tuple[str, str, str]]:
    points = [point for run in study.runs for point in run.progress]
    figures = dict.fromkeys((name, of) for point in points for name, one in point.measures.items() for of in one.figures)
    asked = Counter(name for run in study.runs for name in run.curves if name.startswith("criterion/") and name not in LOGGED)
    failed = sorted({name for run in study.runs for name in run.curves if name.startswith(FAILED)})
    return [
        *((f"measured/{name}", f"held-out {name}", HELDOUT) for name in study.measures),
        ("kl/kl", KL, HELDOUT),
        *((name, label, TRAINING) for name, label in LOGGED.items()),
        *((name, f"judge failures: {name.removeprefix(FAILED)}", TRAINING) for name in failed),
        *((name, f"P(yes): {name.removeprefix('criterion/')}", CRITERIA) for name, _ in sorted(asked.most_common(criteria))),
        *((f"figure/{name}/{figure}", f"{name}: {figure}", FIGURES) for name, figure in figures),
    ]


def series(run: Run, key: str) -> Series | None:
    """What a run has of a metric: as logged, as measured in the middle of training, or else before and after it."""
    kind, name = key.split("/", 1)
    if kind == "figure":
        measure, figure = name.split("/", 1)
        return _measured(run, [one.figures.get(figure) if one else None for one in _of(run, measure)])
    if kind == "measured":
        ends = (run.mean(name, "before"), run.mean(name, "after"))
        return _measured(run, [one.value if one else None for one in _of(run, name)]) or _ends(run, *ends)
    if kind == "kl":
        return _measured(run, [point.kl for point in run.progress]) or _ends(run, 0.0, run.kl)
    curve = run.curves.get(key)
    if curve is None or not curve.updates:
        return None
    x, y = {"updates": curve.updates, "images": curve.images, "judge_calls": curve.judge_calls}, np.asarray(curve.values, float)
    drawn = np.isfinite(y)  # a run that diverged logged NaN
    if not drawn.any():
        return None
    return Series({axis: np.asarray(values, float)[drawn] for axis, values in x.items() if len(values)}, y[drawn])


def _measured(run: Run, values: Sequence[float | None]) -> Series | None:
    known = [(point, value) for point, value in zip(run.progress, values, strict=True) if value is not None]
    if not known:
        return None
    x = {"updates": [p.update for p, _ in known], "images": [p.images for p, _ in known]}
    if all(point.judge_calls is not None for point, _ in known):
        x["judge_calls"] = [point.judge_calls or 0 for point, _ in known]
    return Series({axis: np.asarray(some, float) for axis, some in x.items()}, np.asarray([v for _, v in known], float))


def _of(run: Run, measure: str) -> list[Measured | None]:
    return [point.measures.get(measure) for point in run.progress]


def _ends(run: Run, before: float | None, after: float | None) -> Series | None:
    """The base and the trained policy, of a run that was not measured in between."""
    if before is None or after is None:
        return None
    x = {"updates": last_update(run), "images": run.images, "judge_calls": run.judge_calls}
    return Series({axis: np.array([0.0, end]) for axis, end in x.items() if end}, np.array([before, after]))


def _line(study: Study, arm: str, number: int, key: str, points: int) -> dict[str, Any]:
    found = [(run, some) for run in study.of(arm) if (some := series(run, key))]
    whole = [some for run, some in found if run.finished] or [some for _, some in found]
    bands = {axis: band([(s.x[axis], s.y) for s in whole if axis in s.x], points) for axis, _ in AXES}
    runs = [{"run": run.which or "one run", "short": _short(run), **_thinned(some, points)} for run, some in found]
    return {"arm": number, "runs": runs, "bands": {axis: found for axis, found in bands.items() if found}}


def _short(run: Run) -> str:
    """ "mia 1", "1" """
    return " ".join(map(str, (part for part in (run.of, run.seed) if part not in ("", None))))


def _thinned(some: Series, points: int) -> dict[str, Any]:
    return {"x": {axis: rounded(thin(values, points)) for axis, values in some.x.items()}, "y": rounded(thin(some.y, points))}


def thin(values: np.ndarray, points: int) -> np.ndarray:
    """Means of about equally many neighbours, at most `points` of them."""
    if len(values) <= points:
        return values
    starts = np.arange(points) * len(values) // points
    return np.add.reduceat(values, starts) / np.diff([*starts, len(values)])


def band(lines: Sequence[tuple[np.ndarray, np.ndarray]], points: int) -> dict[str, list[float]] | None:
    """Mean, lowest and highest of (x, y) lines, where all of them are known, each interpolated between its own points."""
    if not lines:
        return None
    lines = [(thin(x, points), thin(y, points)) for x, y in lines]
    low, high = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    places = np.unique(np.concatenate([x for x, _ in lines]))
    places = places[(places >= low) & (places <= high)]
    if not len(places):
        return None
    if len(places) > points:
        places = places[np.unique(np.linspace(0, len(places) - 1, points).round().astype(int))]
    values = np.stack([np.interp(places, x, y) for x, y in lines])
    found = {"x": places, "mean": values.mean(axis=0), "low": values.min(axis=0), "high": values.max(axis=0)}
    return {name: rounded(some) for name, some in found.items()}


def rounded(values: np.ndarray) -> list[float]:
    """To five significant digits: a page is for reading."""
    return [float(f"{value:.5g}") for value in values]
