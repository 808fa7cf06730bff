"""What a run recorded of its measures, also one of before they had names: then there was the shapes oracle alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHAPES = "shapes"
Record = Mapping[str, Any]


def measures(summary: Record) -> dict[str, Any]:
    """Name -> {"before", "after", "figures", "by_tag", "unseen", ...} of a `summary.json`, the run's own measure first."""
    if isinstance(found := summary.get("measures"), dict):
        return found
    if not isinstance(strict := summary.get("heldout_strict"), dict) or strict.get("after") is None:
        return {}
    figures = {"criteria": summary.get("heldout_criteria"), **(summary.get("heldout_parts") or {})}
    by_tag, unseen = summary.get("heldout_by_tag") or {}, summary.get("unseen_strict")
    return {SHAPES: {**strict, "figures": figures, "by_tag": by_tag, "unseen": unseen, "missing": 0, "judge_calls": 0}}


def values(found: Record | None) -> dict[str, dict[str, Any]]:
    """Measure -> {"value", "figures"} of "before" or "after" in a row of `heldout.jsonl`; empty of what was not measured."""
    if not found:
        return {}
    if "strict" not in found:
        return dict(found)
    return {SHAPES: {"value": float(found["strict"]), "figures": {"criteria": found["criteria"], **found.get("parts", {})}}}


def on_the_way(row: Record) -> dict[str, dict[str, Any]]:
    """Measure -> {"value", "figures", "by_prompt"} of a row of `progress.jsonl`."""
    if isinstance(found := row.get("measures"), dict):
        return found
    figures = {"criteria": row["criteria"], **row.get("parts", {})}
    by_prompt = {name: float(met) for name, met in row.get("strict_by_prompt", {}).items()}
    return {SHAPES: {"value": row["strict"], "figures": figures, "by_prompt": by_prompt}}
