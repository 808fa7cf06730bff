"""`python experiments/unsaid/prompts.py`: of each annotator, the prompts that leave one of their tastes open.

Writes runs/unsaid/prompts/<annotator>/{train,heldout}.jsonl, of shapes/open_train and shapes/open_heldout. Where nothing that
somebody likes is open, a policy can learn nothing of it.
"""

from __future__ import annotations

import json
from pathlib import Path

from arr_rpo.data.prompts import EMBEDDED
from arr_rpo.shapes.annotators.people import Annotator, annotators

PLACE = Path("runs/unsaid/prompts")


def cared_for(who: Annotator, split: str) -> list[str]:
    """The lines of a split's file."""
    lines = (EMBEDDED / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if who.open_in(json.loads(line))]


if __name__ == "__main__":
    for who in annotators().values():
        folder = PLACE / who.name
        folder.mkdir(parents=True, exist_ok=True)
        counts = []
        for name in ("train", "heldout"):
            lines = cared_for(who, f"open_{name}")
            (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            counts.append(f"{len(lines)} {name}")
        print(f"{who.name}: {', '.join(counts)}")
