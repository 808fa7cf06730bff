"""`python experiments/unsaid/taken_up.py <run>/verdicts.jsonl <question>`: how often candidates meet a taste, by ten updates.

Of a run with `reward=annotator`, whose grades have the prompt's criteria and the open tastes as checks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean

if __name__ == "__main__":
    path, question = sys.argv[1:]
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    print("| updates | candidates | follow the prompt whole | of those where it is open | meet the taste |")
    print("|---|---|---|---|---|")
    for start in range(0, max(row["update"] for row in rows) + 1, 10):
        some = [dict(row["checks"]) for row in rows if start <= row["update"] < start + 10]
        whole = fmean(all(met for asked, met in checks.items() if asked != question) for checks in some)
        liked = [checks[question] for checks in some if question in checks]
        print(f"| {start} to {start + 9} | {len(some)} | {whole:.2f} | {len(liked)} | {fmean(liked):.2f} |")
