"""`python -m arr_rpo.commands.table FOLDER... [--csv FILE]`: the runs below some folders as a Markdown table, arms with their
seeds, and as a row a run for other programs."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from arr_rpo.commands.errors import plain_errors
from arr_rpo.plain_files import read_json
from arr_rpo.report.arms import Label, arm_names, label
from arr_rpo.report.files import read_yaml
from arr_rpo.run import recorded
from arr_rpo.types import UserError

Arms = dict[str, list[dict[str, Any]]]


@plain_errors
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m arr_rpo.commands.table", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of runs, or of sweeps")
    parser.add_argument("--csv", type=Path, help="a file for the runs, a row each")
    parser.add_argument("--against", metavar="ARM", help="also every other arm's change minus this one's, paired by seed")
    options = parser.parse_args(arguments)
    arms = read_arms(options.folders)
    print(table(arms))
    if options.against:
        print("\n" + paired(arms, options.against))
    if options.csv:
        write_csv(arms, options.csv)


def read_arms(folders: Sequence[Path]) -> Arms:
    """Arm -> the summaries of its runs, by seed. How arms are named: `report.arms`.

    Raises:
        UserError: no finished run is found, or one that has no config.
    """
    paths = sorted(path for folder in folders for path in folder.rglob("summary.json"))
    if not paths:
        raise UserError(f"no summary.json below {', '.join(map(str, folders)) or 'no folder'}: give folders of finished runs")
    arms: Arms = {}
    for path, arm in arm_names({path: label_of(path.parent) for path in paths}).items():
        try:
            arms.setdefault(arm, []).append(dict(read_json(path)))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path} cannot be read ({error}): give folders of finished runs") from error
    return {arm: sorted(runs, key=lambda run: int(run["seed"])) for arm, runs in arms.items()}


def label_of(folder: Path) -> Label:
    """See `Label`.

    Raises:
        UserError: the run has no config that can be read.
    """
    wrong: list[str] = []
    config = read_yaml(folder / "config.yaml", wrong)
    if wrong:
        raise UserError(f"{folder}: {wrong[0]}. Give folders of runs of train.py.")
    return label(config, folder)


def table(arms: Arms) -> str:
    """A row a run, then a row an arm: the mean change over its seeds with a 95% t interval."""
    lines = [
        "| arm | seed | strict before | after | change | criteria before | after | KL | tied / flipped / failed | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in arms.items():
        lines += [row(name, run) for run in runs]
    lines += ["", "| arm | seeds | strict, mean change | 95% interval |", "|---|---|---|---|"]
    for name, runs in arms.items():
        changes = list(changes_of(runs).values())
        lines.append(f"| {name} | {len(runs)} | {figure(mean(changes), '+.3f')} | {interval(changes)} |")
    return "\n".join(lines)


def paired(arms: Arms, baseline: str) -> str:
    """A row an arm: the mean over shared seeds of its change minus that of `baseline`, with a 95% t interval.

    Raises:
        UserError: there is no such arm.
    """
    if baseline not in arms:
        raise UserError(f"--against {baseline!r}: no such arm; there are {', '.join(map(repr, arms))}")
    own = changes_of(arms[baseline])
    lines = [f"| arm | seeds | strict, mean change minus that of {baseline} | 95% interval |", "|---|---|---|---|"]
    for name, runs in arms.items():
        others = changes_of(runs)
        differences = [others[seed] - own[seed] for seed in sorted(set(others) & set(own))]
        if name != baseline and differences:
            lines.append(f"| {name} | {len(differences)} | {figure(mean(differences), '+.3f')} | {interval(differences)} |")
    return "\n".join(lines)


def changes_of(runs: Sequence[dict[str, Any]]) -> dict[int, float]:
    """Seed -> change of the run's own measure, of the runs in which it was measured."""
    changes = {int(run["seed"]): change_of(own_measure(run)) for run in runs}
    return {seed: change for seed, change in changes.items() if change is not None}


def own_measure(run: dict[str, Any]) -> dict[str, Any]:
    """The run's own measure, before and after; nothing where it was not measured."""
    return next(iter(recorded.measures(run).values()), {"before": None, "after": None, "figures": {}})


def change_of(figures: dict[str, float | None]) -> float | None:
    """After minus before; None where it was not measured."""
    before, after = figures["before"], figures["after"]
    return None if before is None or after is None else after - before


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def figure(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)


def row(name: str, run: dict[str, Any]) -> str:
    strict, judge = own_measure(run), run["judge"]
    criteria = strict["figures"].get("criteria", {"before": None, "after": None})
    return (
        f"| {name} | {run['seed']} | {figure(strict['before'])} | {figure(strict['after'])} "
        f"| {figure(change_of(strict), '+.3f')} "
        f"| {figure(criteria['before'])} | {figure(criteria['after'])} | {figure(run['kl'], '.1f')} "
        f"| {judge['ties']} / {judge['flips']} / {judge['failures']} | {run['seconds'] / 60:.1f} |"
    )


def write_csv(arms: Arms, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["arm", "seed", "before", "after", "kl", "images", "judge_calls"])
        for name, runs in arms.items():
            for run in runs:
                strict = own_measure(run)
                calls = run["judge"]["calls"]
                writer.writerow([name, run["seed"], strict["before"], strict["after"], run["kl"], run["images"], calls])


def interval(changes: Sequence[float]) -> str:
    """Student's t interval of the mean over seeds; one seed has none."""
    if len(changes) < 2:
        return "one seed" if changes else "not measured"
    centre, error = sum(changes) / len(changes), float(stats.sem(changes))
    if error == 0:
        return f"{centre:+.3f} in each"
    low, high = stats.t.interval(0.95, len(changes) - 1, loc=centre, scale=error)
    return f"{low:+.3f} to {high:+.3f}"


if __name__ == "__main__":
    main()
