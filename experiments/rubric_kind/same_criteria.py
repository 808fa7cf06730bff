"""`python same_criteria.py <folder of runs>`: how many refined rubrics ask just what is written from the prompt alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def questions(folder: Path, arm: str) -> dict[str, frozenset[str]]:
    """Prompt -> the questions of its rubric, over all runs of an arm."""
    lines = (line for path in sorted(folder.glob(f"arm={arm},seed=*/verdicts.jsonl")) for line in path.open(encoding="utf-8"))
    return {row["prompt"]: frozenset(c["question"] for c in row["rubric"]) for row in map(json.loads, lines) if row["rubric"]}


if __name__ == "__main__":
    written, refined = (questions(Path(sys.argv[1]), arm) for arm in ("per_prompt", "per_prompt_refined"))
    both = written.keys() & refined.keys()
    same = sum(written[prompt] == refined[prompt] for prompt in both)
    print(f"{same} of {len(both)} prompts have the same criteria in both arms")
