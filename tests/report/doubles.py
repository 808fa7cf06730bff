"""Runs without folders, for what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arr_rpo.report.records import HeldoutPrompt, ProgressPoint, Run, Score, Study

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
    summary = (
        {}
        if after is None
        else {"heldout_strict": {"before": share(before), "after": share(after)}, "kl": 10.0, "images": images}
    )
    heldout = tuple(
        HeldoutPrompt(f"heldout/{n}", "heldout", "colors", f"prompt {n}", score(before[n]), score(after[n]) if after else None)
        for n in range(len(before) if by_prompt else 0)
    )
    name = f"arm={arm},seed={seed}"
    finished = after is not None
    return Run(
        Path(name), name, arm, seed, finished, {}, summary, heldout, tuple(progress), {}, {}, (), ()
    )  # fmt: skip


def point(update: int, strict: str, *, kl: float, calls: int | None = None, images: int | None = None) -> ProgressPoint:
    values = {f"heldout/{n}": value == "1" for n, value in enumerate(strict)}
    taken = 10 * update if images is None else images
    return ProgressPoint(update, taken, calls, None, share(strict), 0.5, kl, {}, values)


def make_study(
    runs: Sequence[Run],
    *,
    reference: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    claims: Sequence[tuple[str, ...]] = (),
) -> Study:
    arms = tuple(dict.fromkeys(run.arm for run in runs))
    return Study(Path(), "study", "", reference, arms, tuple(pairs), tuple(claims), tuple(runs), ())


def share(strict: str) -> float:
    return strict.count("1") / len(strict)


def score(strict: str) -> Score:
    return Score(strict == "1", float(strict))
