"""`python experiments/alarm/table.py runs/alarm`: when the alarm rang in each run of `run.sh`, and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    print("| arm | seed | gold at 0 | best | at the end | alarm after | reasons |\n|---|---|---|---|---|---|---|")
    for arm in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        for run in sorted(path.parent for path in arm.rglob("summary.json")):
            print(row(arm.name, run))


def row(arm: str, run: Path) -> str:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    gold = [point["measures"]["shapes"]["value"] for point in rows(run / "progress.jsonl")]
    found = summary["alarm"]
    told = "; ".join(found["reasons"]) if found else ""
    figures = " | ".join(f"{value:.3f}" for value in (gold[0], max(gold), gold[-1]))
    return f"| {arm} | {summary['seed']} | {figures} | {found['update'] if found else 'none'} | {told} |"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    main()
