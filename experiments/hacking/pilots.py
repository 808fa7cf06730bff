"""`python -m experiments.hacking.pilots FOLDER...`: what the rules of PLAN.md read off pilots, of each folder's runs and their
mean: gold before and after and at its best, proxy and KL."""

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
            updates = [point.update for point in next(iter(arm.values()))]
            for who, some in {"mean": arm, **{who: {who: course} for who, course in arm.items()}}.items():
                gold, proxy, root_kl = (curve(some, figure) for figure in ("gold", "proxy", "root_kl"))
                best = f"{gold.max():.3f} (update {updates[int(gold.argmax())]})"
                figures = (gold[0], gold[-1], gold[-1] - gold.max(), proxy[-1], root_kl[-1])
                base, last, fell, win, far = (f"{value:.3f}" for value in figures)
                rows.append([folder.name, name, who, base, best, last, fell, win, far])
    heads = ["folder", "arm", "annotator", "gold: base", "best", "last", "last minus best", "proxy, last", "root KL, last"]
    print(table(heads, rows))


if __name__ == "__main__":
    main()
