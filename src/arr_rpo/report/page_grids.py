"""Pictures of held-out prompts side by side: the base and each arm, from the same initial noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from arr_rpo.report.page_pictures import Album
from arr_rpo.report.records import HeldoutPrompt, Study


def grids(study: Study, album: Album, prompts: int, seeds: int) -> list[dict[str, Any]]:
    """One for each of the first `seeds` seeds with pictures: `title`, `columns`, and `rows` of at most `prompts` prompts."""
    found: list[dict[str, Any]] = []
    for seed in sorted({run.seed for run in study.runs}, key=lambda s: (s is None, s)):
        by_arm: dict[str, dict[str, HeldoutPrompt]] = {}
        for run in sorted((run for run in study.runs if run.seed == seed), key=lambda run: not run.finished):
            by_arm.setdefault(run.arm, _pictured(run.heldout))  # of several with one seed: that which is compared
        ids = list(dict.fromkeys(name for some in by_arm.values() for name in some))
        if ids and len(found) < seeds:
            rows = [_row(study.arms, by_arm, name, album) for name in _spread(ids, prompts)]
            found.append(
                {"title": "one run" if seed is None else f"seed {seed}", "columns": ["base", *study.arms], "rows": rows}
            )
    return found


def _pictured(prompts: Sequence[HeldoutPrompt]) -> dict[str, HeldoutPrompt]:
    return {f"{prompt.split} {prompt.prompt_id}": prompt for prompt in prompts if prompt.pictures}


def _row(arms: Sequence[str], by_arm: dict[str, dict[str, HeldoutPrompt]], name: str, album: Album) -> dict[str, Any]:
    known = [some[name] for some in by_arm.values() if name in some]
    base = next((prompt for prompt in known if "base" in prompt.pictures), None)
    cells = [_cell(base, "base", album), *(_cell(by_arm.get(arm, {}).get(name), "trained", album) for arm in arms)]
    source = known[0].pictures.get("source")
    kind = f"{known[0].tag}, {known[0].split}"
    return {"prompt": known[0].text, "kind": kind, "source": album.add(source) if source else None, "cells": cells}


def _cell(prompt: HeldoutPrompt | None, which: str, album: Album) -> dict[str, Any] | None:
    if prompt is None or which not in prompt.pictures:
        return None
    number = album.add(prompt.pictures[which])
    measured = prompt.before if which == "base" else prompt.after
    value = next((one.value for one in measured.values()), None)  # the run's own measure
    return None if number is None else {"picture": number, "met": bool(value) if value in (0.0, 1.0) else None, "value": value}


def _spread(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of them, evenly spread: prompts are stored by kind."""
    places = np.unique(np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int))
    return [names[place] for place in places]
