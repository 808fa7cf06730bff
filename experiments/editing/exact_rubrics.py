"""`python experiments/editing/exact_rubrics.py STUDY`: how many of the rubrics that a study's runs were judged by ask exactly
for the edit and for all that must stay, and how many prompts had none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from arr_rpo.data.prompts import read_prompts
from arr_rpo.shapes.world.asked import own


def main(study: Path) -> None:
    prompts = {prompt.id: prompt for prompt in read_prompts("shapes/edit_train")}
    written: dict[str, frozenset[str] | None] = {}
    for path in sorted(study.glob("arm=checklist,*/verdicts.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            written[row["prompt_id"]] = row["rubric"] and frozenset(c["question"] for c in row["rubric"])
    exact = [asked == frozenset(c.text for c in own(prompts[key].metadata)) for key, asked in written.items()]
    print(
        f"{sum(exact)} of {len(exact)} prompts have exactly the right rubric, {sum(not r for r in written.values())} have none"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
