"""`python -m arr_rpo.commands.table FOLDER...`: the runs below some folders as a Markdown table, arms with their seeds."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from scipy import stats

from arr_rpo.commands.errors import plain_errors
from arr_rpo.types import UserError


@plain_errors
def main(folders: Sequence[str] = ()) -> None:
    print(table([Path(folder) for folder in folders or sys.argv[1:]]))


def table(folders: Sequence[Path]) -> str:
    """A row a run, then a row an arm: the mean change over its seeds with a 95% t interval.

    An arm is a run's experiment and the overrides that a multirun put into the name of its folder, without the seed.

    Raises:
        UserError: no finished run is found.
    """
    paths = sorted(path for folder in folders for path in folder.rglob("summary.json"))
    if not paths:
        raise UserError(f"no summary.json below {', '.join(map(str, folders)) or 'no folder'}: give folders of finished runs")
    arms: dict[str, list[dict[str, Any]]] = {}
    for path in paths:
        arms.setdefault(arm(path.parent), []).append(json.loads(path.read_text(encoding="utf-8")))
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


def arm(folder: Path) -> str:
    """Folder "judge=random,seed=2" of the experiment t2i_rpo -> "t2i_rpo, judge=random"."""
    name = str(OmegaConf.load(folder / "config.yaml").name)
    overrides = [part for part in folder.name.split(",") if "=" in part and not part.startswith("seed=")]
    return ", ".join([name, *overrides])


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
