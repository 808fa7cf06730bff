"""How good a judge is, from its verdicts on labelled pairs. docs/bench.md says what each figure means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torchmetrics.functional.classification import binary_calibration_error

from arr_rpo.evaluation.bench_rows import Judged, JudgedCheck
from arr_rpo.evaluation.bootstrap import Figure, Resampling, figure, share
from arr_rpo.types import Outcome

Part = tuple[float, float]  # what a pair adds to a figure's numerator and to its denominator
NOTHING: Part = (0.0, 0.0)
DECIDED = (Outcome.A, Outcome.B)
UNDECIDED = (Outcome.TIE, Outcome.INCONSISTENT)


def figures(judged: Sequence[Judged], how: Resampling, calibration_bins: int) -> dict[str, Figure]:
    """Every figure over some pairs, with its interval."""
    units = _units(judged, how)
    found = {}
    for name, part in PARTS.items():
        parts = [part(j) for j in judged]
        found[name] = share([over for over, _ in parts], [under for _, under in parts], units, how)
    found["ece"] = calibration(judged, units, how, calibration_bins)
    return found


def criterion_figures(judged: Sequence[Judged], how: Resampling) -> dict[str, dict[str, Figure]]:
    """Of each criterion, by its name: `accuracy`, share of its answers on single images that an oracle calls right, and
    `agreement`, share of labelled pairs in which it favours the image that people prefer, favouring neither counting half."""
    parts: dict[str, dict[str, dict[str, Part]]] = defaultdict(lambda: {"accuracy": {}, "agreement": {}})
    for j in judged:
        for check in j.checks:
            of = parts[check.check.name]
            for name, part in (("accuracy", _answers_right(check)), ("agreement", _agrees(check, j))):
                over, under = of[name].get(j.id, NOTHING)
                of[name][j.id] = over + part[0], under + part[1]
    units = dict(zip((j.id for j in judged), _units(judged, how), strict=True))
    return {
        criterion: {
            name: share([p[0] for p in some.values()], [p[1] for p in some.values()], [units[pair] for pair in some], how)
            for name, some in of.items()
        }
        for criterion, of in sorted(parts.items())
    }


def calibration(judged: Sequence[Judged], units: Sequence[str], how: Resampling, bins: int) -> Figure:
    """Expected calibration error of P(A better) against the label, over equal bins of probability (torchmetrics)."""
    kept = [(j.verdict.p_a, float(j.better is Outcome.A), unit) for j, unit in zip(judged, units, strict=True) if _has_p(j)]
    if not kept:
        return Figure(None, None, None, 0)
    p_a, is_a = (torch.tensor([row[column] for row in kept], dtype=torch.float64) for column in (0, 1))
    rows = defaultdict(list)
    for row, (*_, unit) in enumerate(kept):
        rows[unit].append(row)
    members = [np.array(some) for some in rows.values()]

    def error(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        flat = [np.concatenate([members[i] for i in some]) for some in drawn.reshape(-1, drawn.shape[-1])]
        values = [float(binary_calibration_error(p_a[some], is_a[some].long(), n_bins=bins, norm="l1")) for some in flat]
        return np.array(values).reshape(drawn.shape[:-1])

    return figure(error, len(members), len(kept), how)


def _right(j: Judged) -> Part:
    return (float(j.verdict.outcome is j.better), 1.0) if j.better in DECIDED else NOTHING


def _right_of_decided(j: Judged) -> Part:
    return _right(j) if j.verdict.outcome in DECIDED else NOTHING


def _right_or_half(j: Judged) -> Part:
    if j.better not in DECIDED or j.verdict.outcome is Outcome.FAILED:
        return NOTHING
    return (0.5, 1.0) if j.verdict.outcome in UNDECIDED else _right(j)


def _has_p(j: Judged) -> bool:
    return j.better in DECIDED and j.verdict.p_a is not None


def _forced(p_a: float | None, j: Judged) -> Part:
    """Right where the probability is on the side of the label, and half at exactly one half."""
    if p_a is None or j.better not in DECIDED:
        return NOTHING
    p_right = p_a if j.better is Outcome.A else 1 - p_a
    return float(p_right > 0.5) + 0.5 * float(p_right == 0.5), 1.0


def _in_order(a_first: bool) -> Callable[[Judged], Part]:
    return lambda j: _forced(j.verdict.p_a_by_order[0 if a_first else 1] if j.verdict.p_a_by_order else None, j)


def _better_shown(first: bool) -> Callable[[Judged], Part]:
    """With the preferred image shown first, or second."""
    return lambda j: _in_order(a_first=(j.better is Outcome.A) == first)(j)


def _gap(j: Judged) -> Part:
    (first, there), (second, _) = _better_shown(True)(j), _better_shown(False)(j)
    return first - second, there


def _rate(outcome: Outcome) -> Callable[[Judged], Part]:
    return lambda j: (float(j.verdict.outcome is outcome), 1.0)


def _tie_agreement(j: Judged) -> Part:
    return (float(j.verdict.outcome is Outcome.TIE), 1.0) if j.better is Outcome.TIE else NOTHING


def _answers_right(check: JudgedCheck) -> Part:
    known = [(p, t) for p, t in ((check.check.a, check.truth_a), (check.check.b, check.truth_b)) if t is not None]
    return float(sum((p > 0.5) == t for p, t in known)), float(len(known))


def _agrees(check: JudgedCheck, j: Judged) -> Part:
    return _forced((1 + check.check.a - check.check.b) / 2, j)


def _units(judged: Sequence[Judged], how: Resampling) -> list[str]:
    return [j.prompt_id if how.unit == "prompt" else j.id for j in judged]


PARTS: Mapping[str, Callable[[Judged], Part]] = {
    "accuracy": _right,
    "accuracy_decided": _right_of_decided,
    "accuracy_half": _right_or_half,
    "accuracy_averaged": lambda j: _forced(j.verdict.p_a, j),
    "accuracy_a_first": _in_order(a_first=True),
    "accuracy_b_first": _in_order(a_first=False),
    "accuracy_better_first": _better_shown(True),
    "accuracy_better_second": _better_shown(False),
    "order_gap": _gap,
    "flip_rate": _rate(Outcome.INCONSISTENT),
    "tie_rate": _rate(Outcome.TIE),
    "failure_rate": _rate(Outcome.FAILED),
    "tie_agreement": _tie_agreement,
    "calls": lambda j: (float(j.verdict.cost.calls), 1.0),
    "tokens": lambda j: (float(j.verdict.cost.tokens), 1.0),
    "seconds": lambda j: (j.seconds, 1.0),
}
