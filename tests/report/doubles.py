"""Runs without folders, for what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arr_rpo.report.study import HeldoutPrompt, Measured, ProgressPoint, Run, Study

MEASURE = "shapes"
BASE = "1100"  # strict of four held-out prompts before training


def make_run(
    arm: str,
    seed: int,
    after: str | None,
    *,
    progress: Sequence[ProgressPoint] = (),
    before: str = BASE,
    by_prompt: bool = True,
    images: int = 0,
) -> Run:
    """after: strict of each prompt, "1101"; None of a run that did not end."""
    summary = {} if after is None else {"kl": 10.0, "images": images}
    measures = {} if after is None else {MEASURE: {"before": share(before), "after": share(after)}}
    heldout = tuple(
        HeldoutPrompt(f"heldout/{n}", "heldout", "colors", f"prompt {n}", score(before[n]), score(after[n]) if after else {})
        for n in range(len(before) if by_prompt else 0)
    )
    name = f"arm={arm},seed={seed}"
    finished = after is not None
    return Run(
        Path(name), name, arm, seed, finished, {}, summary, measures, heldout, tuple(progress), {}, {}, (), ()
    )  # fmt: skip


def point(update: int, strict: str, *, kl: float, calls: int | None = None, images: int | None = None) -> ProgressPoint:
    values = {f"heldout/{n}": float(value) for n, value in enumerate(strict)}
    taken = 10 * update if images is None else images
    return ProgressPoint(update, taken, calls, None, kl, {MEASURE: Measured(share(strict), {}, values)})


def make_study(
    runs: Sequence[Run],
    *,
    reference: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    claims: Sequence[tuple[str, ...]] = (),
) -> Study:
    arms = tuple(dict.fromkeys(run.arm for run in runs))
    return Study(Path(), "study", "", reference, arms, tuple(pairs), tuple(claims), tuple(runs), (), (MEASURE,))


def share(strict: str) -> float:
    return strict.count("1") / len(strict)


def score(strict: str) -> dict[str, Measured]:
    return {MEASURE: Measured(float(strict))}
