"""`python experiments/unsaid/learned.py [folder] [reference]`: what policies of `study=unsaid` learned, an arm a row.

Intervals are over annotators: a figure is the mean of an annotator's seeds. Differences are paired by annotator, their p-values
corrected for being many (Holm).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from arr_rpo.report.statistics import holm, t_interval, t_p_value

FIGURES = ("taste", "followed", "strict", "worth", "kl")
Arm = Mapping[str, Mapping[str, float]]  # annotator -> figure -> mean of the seeds


def figures(run: Path) -> tuple[str, str, dict[str, float]]:
    """Arm, annotator and what was measured after training; `taste_before` and so on before."""
    study = OmegaConf.load(run / "config.yaml").study
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    measured = summary["measures"]["annotator"]
    found = {"kl": summary["kl"], "worth": measured["after"], "worth_before": measured["before"]}
    for name, some in measured["figures"].items():
        found |= {name: some["after"], f"{name}_before": some["before"]}
    return study.arm, study.annotator, found


def arms(place: Path) -> dict[str, Arm]:
    found: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for summary in sorted(place.glob("*/summary.json")):
        arm, who, measured = figures(summary.parent)
        found[arm][who].append(measured)
    return {
        arm: {who: {name: fmean(one[name] for one in runs) for name in runs[0]} for who, runs in of.items()}
        for arm, of in found.items()
    }


def said(values: Sequence[float], signed: bool = False) -> str:
    sign = "+" if signed else ""
    if len(values) < 2:
        return f"{fmean(values):{sign}.3f}"
    low, high = t_interval(values, 0.95)
    return f"{fmean(values):{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def table(found: Mapping[str, Arm]) -> str:
    some = next(iter(found.values()))
    before = [f"{fmean(of[f'{name}_before'] for of in some.values()):.3f}" for name in FIGURES[:-1]]
    lines = ["| arm | annotators | " + " | ".join(FIGURES) + " |", "|---" * (len(FIGURES) + 2) + "|"]
    lines.append(f"| before training | {len(some)} | {' | '.join(before)} | 0 |")
    for arm, of in found.items():
        cells = [said([one[name] for one in of.values()]) for name in FIGURES]
        lines.append(f"| {arm} | {len(of)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(found: Mapping[str, Arm], reference: str) -> str:
    base, rows = found[reference], []
    for arm, of in found.items():
        both = [who for who in of if who in base]
        if arm != reference and len(both) > 1:
            gaps = {name: [of[who][name] - base[who][name] for who in both] for name in ("taste", "followed", "worth")}
            rows.append((arm, gaps, t_p_value(gaps["taste"])))
    corrected = holm([p for *_, p in rows])
    lines = [f"| arm minus {reference} | taste | p (Holm) | followed | worth |", "|---|---|---|---|---|"]
    for (arm, gaps, _), p in zip(rows, corrected, strict=True):
        taste, followed, worth = (said(values, signed=True) for values in gaps.values())
        lines.append(f"| {arm} | {taste} | {p:.3f} | {followed} | {worth} |")
    return "\n".join(lines)


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/study/unsaid/t2i_rpo")
    found = arms(place)
    print(table(found), "", differences(found, sys.argv[2] if len(sys.argv) > 2 else "prompt_alone"), sep="\n")
