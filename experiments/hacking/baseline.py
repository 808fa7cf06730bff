"""`python -m experiments.hacking.baseline runs/study/hacking/t2i_rpo/*`: how often a reward prefers the worse of two pictures,
where nothing was trained.

Of each run: two pictures of its base for each held-out prompt, from two noises; the run's own reward calls them, as
`measure=win_rate` does, and so does the annotator. Writes `baseline.json` into the run's folder, for `courses.py`. Runs of one
reward (dropout and rotation are of own_weighted's) may share it by a copy.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from arr_rpo.commands.cli.errors import plain_errors
from arr_rpo.whole_files import write_json
from experiments.hacking.courses import BASELINE, SAME
from experiments.hacking.finished import Finished, preferred


def called(proxy: Sequence[float | None], gold: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Shares of the prompts: at which the reward prefers one of the two pictures and the annotator one; and not the same.

    proxy: 1 where it prefers the first, 0 the second. gold, other: what the first and the second are worth.
    """
    known = [(p, a - b) for p, a, b in zip(proxy, gold, other, strict=True) if p is not None]
    accepted = [p != 0.5 and abs(gap) > SAME for p, gap in known]
    bad = [there and (p > 0.5) != (gap > 0) for there, (p, gap) in zip(accepted, known, strict=True)]
    return {"accepted": float(np.mean(accepted)), "bad": float(np.mean(bad)), "prompts": len(known)}


def baseline(run: Path) -> dict[str, float]:
    trained = Finished(run)
    shown = trained.untrained()
    worth = [trained.worth(shown.prompts, some) for some in (shown.images, shown.base)]
    return called(preferred(trained.config, shown), *worth)


@plain_errors
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for run in given.runs:
        if not (run / "summary.json").is_file() or (run / BASELINE).is_file():
            continue
        found = baseline(run)
        write_json(run / BASELINE, found)
        print(run.name, {key: round(value, 3) for key, value in found.items()}, flush=True)


if __name__ == "__main__":
    main()
