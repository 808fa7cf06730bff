"""`python experiments/judges/precision.py FOLDER`: of exported rubrics of shapes prompts, how many criteria are the prompt's
own, and how many of the prompt's own are among them."""

from __future__ import annotations

import sys
from pathlib import Path

from arr_rpo.data.prompts import read_prompts
from arr_rpo.evaluation.bootstrap import Resampling, share
from arr_rpo.rubric.files import read_rubrics
from arr_rpo.shapes.world.questions import questions_of


def main(folder: Path) -> None:
    prompts = {p.text: p for split in ("heldout", "unseen", "train") for p in read_prompts(f"shapes/{split}")}
    how = Resampling(draws=1000, confidence=0.95, unit="prompt", seed=0)
    written, own, both, units = [], [], [], []
    for path in sorted(folder.glob("*.yaml")):
        for rubric in read_rubrics(path):
            text = rubric.provenance["prompt"]
            asked = {c.question for c in rubric.criteria}
            wanted = {str(q) for q in questions_of(prompts[text].metadata)}
            written.append(len(asked))
            own.append(len(wanted))
            both.append(len(asked & wanted))
            units.append(text)
    exact = [float(w == o == b) for w, o, b in zip(written, own, both, strict=True)]
    print("| of rubrics | value | 95% interval | rubrics |\n|---|---|---|---|")
    for name, over, under in (("precision", both, written), ("coverage", both, own), ("exact", exact, [1.0] * len(exact))):
        figure = share(over, under, units, how)
        print(f"| {name} | {figure.value:.3f} | {figure.low:.3f} to {figure.high:.3f} | {len(units)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
