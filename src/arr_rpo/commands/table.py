"""`python -m arr_rpo.commands.table FOLDER...`: the runs below some folders as a Markdown table, arms with their seeds."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from arr_rpo.commands.errors import plain_errors
from arr_rpo.types import UserError


@plain_errors
def main(folders: Sequence[str] = ()) -> None:
    print(table([Path(folder) for folder in folders or sys.argv[1:]]))


def table(folders: Sequence[Path]) -> str:
    """A row a run, then a row an arm: the mean change over its seeds with a 95% t interval.

    An arm is the name of a run's folder without its seed, as a multirun makes it.

    Raises:
        UserError: no finished run is found.
    """
    paths = sorted(path for folder in folders for path in folder.rglob("summary.json"))
    if not paths:
        raise UserError(f"no summary.json below {', '.join(map(str, folders)) or 'no folder'}: give folders of finished runs")
    arms: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        arms.setdefault(arm(path.parent.name), []).append(json.loads(path.read_text(encoding="utf-8")))
    lines = [
        "| arm | seed | strict before | after | change | criteria before | after | KL | tied / flipped / failed | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in arms.items():
        lines += [row(name, run) for run in sorted(runs, key=lambda run: int(run["seed"]))]
    lines += ["", "| arm | seeds | strict, mean change | 95% interval |", "|---|---|---|---|"]
    for name, runs in arms.items():
        changes = [run["heldout_strict"]["after"] - run["heldout_strict"]["before"] for run in runs]
        lines.append(f"| {name} | {len(runs)} | {sum(changes) / len(changes):+.3f} | {interval(changes)} |")
    return "\n".join(lines)


def arm(folder: str) -> str:
    """ "judge=random,seed=2" -> "judge=random"; a folder that is named by its seed or its time alone is the default arm."""
    name = re.sub(r"(^|,)seed=\d+", "", folder).strip(",")
    return "default" if not name or re.fullmatch(r"\d{4}-\d\d-\d\d_.*", name) else name


def row(name: str, run: dict[str, Any]) -> str:
    strict, criteria, judge = run["heldout_strict"], run["heldout_criteria"], run["judge"]
    change = strict["after"] - strict["before"]
    return (
        f"| {name} | {run['seed']} | {strict['before']:.3f} | {strict['after']:.3f} | {change:+.3f} "
        f"| {criteria['before']:.3f} | {criteria['after']:.3f} | {run['kl']:.1f} "
        f"| {judge['ties']} / {judge['flips']} / {judge['failures']} | {run['seconds'] / 60:.1f} |"
    )


def interval(changes: Sequence[float]) -> str:
    """Student's t interval of the mean over seeds; one seed has none."""
    if len(changes) < 2:
        return "one seed"
    mean, error = sum(changes) / len(changes), float(stats.sem(changes))
    if error == 0:
        return f"{mean:+.3f} in each"
    low, high = stats.t.interval(0.95, len(changes) - 1, loc=mean, scale=error)
    return f"{low:+.3f} to {high:+.3f}"


if __name__ == "__main__":
    main()
