"""`python -m experiments.hacking.pilots FOLDER...`: what the rules of PLAN.md read off pilots, a row a folder of runs: the mean
course of gold and proxy, and how far gold has fallen from its best at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.report.read_study import read_study
from experiments.hacking.courses import arms_of, points
from experiments.hacking.gamed import curve
from experiments.markdown import table


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    rows = []
    for folder in parser.parse_args().folders:
        runs = [run for run in read_study(folder).runs if run.finished]
        for name, arm in arms_of(point for run in runs for point in points(run)).items():
            gold, proxy, root_kl = (curve(arm, figure) for figure in ("gold", "proxy", "root_kl"))
            updates = [point.update for point in next(iter(arm.values()))]
            best = f"{gold.max():.3f} (update {updates[int(gold.argmax())]})"
            figures = (gold[0], gold[-1], gold[-1] - gold.max(), proxy[-1], root_kl[-1])
            base, last, fell, win, far = (f"{value:.3f}" for value in figures)
            rows.append([folder.name, name, f"{len(arm)} of {updates[-1]} updates", base, best, last, fell, win, far])
    heads = ["folder", "arm", "runs", "gold: base", "best", "last", "last minus best", "proxy, last", "root KL, last"]
    print(table(heads, rows))


if __name__ == "__main__":
    main()
